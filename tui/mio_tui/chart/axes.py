"""Ranges, ticks and number formats of the axes: pure, no screen."""

import math
from typing import Literal

import numpy as np

from mio_tui.chart.raster import Floats

XKind = Literal["step", "tokens", "time"]
Range = tuple[float, float]

_NICE = (1, 2, 5, 10)
_AHEAD = (1, 1.5, 2, 3, 4, 5, 6, 8, 10)  # how far a growing axis goes: a third of it is empty at most
_SECONDS = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 21600, 43200, 86400)
_TINY = 1e-9  # a span below this share of the values is rounding, not data
_LARGEST = 1e300
_SMALLEST_LOG = -300.0


def nice_step(least: float) -> float:
    """The smallest 1, 2 or 5 times a power of ten that is not below `least`, which is positive."""
    power = math.floor(math.log10(least))
    factor = next((factor for factor in _NICE if factor * 10.0**power >= least * (1 - 1e-9)), 10)
    return factor * 10.0**power


def bounds(values: list[Floats]) -> Range | None:
    """The lowest and highest finite value, None where there is none."""
    found = [finite for each in values if (finite := each[np.isfinite(each)]).size]
    if not found:
        return None
    low, high = min(float(each.min()) for each in found), max(float(each.max()) for each in found)
    return max(low, -_LARGEST), min(high, _LARGEST)


def y_range(current: Range | None, low: float, high: float) -> Range:
    """A range that holds [low, high]: `current` where it does already, else `current` grown at the side that was left.

    Ends are multiples of a 1/2/5 step of about a fifth of the span, so a slowly growing curve seldom changes them, and
    a range of non-negative data never starts below 0.
    """
    if current is not None and current[0] <= low and high <= current[1]:
        return current
    grown = (low, high) if current is None else (min(low, current[0]), max(high, current[1]))
    span = grown[1] - grown[0]
    if span <= _TINY * max(abs(grown[0]), abs(grown[1])):
        around = 0.1 * abs(low) or 0.1
        grown, span = (low - around, high + around), 2 * around
    step = nice_step(span / 5)
    down, up = step * math.floor(grown[0] / step + 1e-9), step * math.ceil(grown[1] / step - 1e-9)
    if current is None:
        return down, up
    return (down if low < current[0] else current[0]), (up if high > current[1] else current[1])


def horizon(done: int, total: int) -> float:
    """Where a growing axis of steps ends: a twentieth past what is done at least, and at `total`, if known, at most.

    It is 1, 1.5, 2, 3, 4, 5, 6 or 8 times a power of ten, from 10 on, so that it moves, which draws all anew, some
    eight times while a run grows tenfold.
    """
    least = max(done * 1.05, 10)
    power = 10.0 ** math.floor(math.log10(least))
    end = next(factor * power for factor in _AHEAD if factor * power >= least)
    return min(end, float(max(total, done))) if total else end


def with_guides(data: Range, guides: list[float]) -> Range:
    """`data` widened to each guide that lies no further from it than its own span; the others are too far to draw."""
    reach = max(data[1] - data[0], 0.1 * max(abs(data[0]), abs(data[1])))
    near = [y for y in guides if data[0] - reach <= y <= data[1] + reach]
    return min([data[0], *near]), max([data[1], *near])


def ticks(low: float, high: float, most: int) -> list[float]:
    """At most `most` multiples of a 1/2/5 step within [low, high]."""
    if most < 1:
        return []
    return _multiples(nice_step((high - low) / max(most - 1, 0.5)), low, high)[:most]


def log_ticks(low: float, high: float, most: int) -> list[float]:
    """Ticks of a log axis within [low, high], all exponents; 2 and 5 times a power of ten where there is room."""
    if most < 1:
        return []
    decades = [float(n) for n in range(math.ceil(low - 1e-9), math.floor(high + 1e-9) + 1)]
    if len(decades) > most:
        return decades[:: math.ceil(len(decades) / most)]
    between = [math.floor(low) + n + math.log10(f) for n in range(math.ceil(high - low) + 2) for f in (1, 2, 5)]
    finer = [value for value in between if low - 1e-9 <= value <= high + 1e-9]
    if len(finer) < 2 and high - low < 1:
        return [math.log10(value) for value in ticks(10.0**low, 10.0**high, most) if value > 0]
    return finer if len(finer) <= most else decades or finer[:most]


def x_ticks(low: float, high: float, most: int, kind: XKind) -> list[float]:
    """As `ticks`; seconds fall on whole seconds, minutes, hours or days, steps and tokens on whole numbers."""
    if most < 1:
        return []
    least = (high - low) / max(most - 1, 0.5)
    if kind == "time":
        step = next((second for second in _SECONDS if second >= least), 86400 * nice_step(max(least / 86400, 1)))
    else:
        step = max(nice_step(least), 1)
    return _multiples(step, low, high)[:most]


def tick_text(value: float, step: float) -> str:
    """A tick of a linear axis with just the digits that tell it from the next one, `step` away."""
    if abs(value) < step / 2:
        return "0"
    if abs(value) >= 1e5 or step < 1e-4:
        digits = math.floor(math.log10(abs(value))) - math.floor(math.log10(step) + 1e-9)
        return _short_exponent(f"{value:.{min(max(digits, 0), 4)}e}")
    return f"{value:.{max(-math.floor(math.log10(step) + 1e-9), 0)}f}"


def end_text(value: float) -> str:
    """An end of a linear axis, where it stands alone: 0.6, 120, 2e5."""
    if value == 0 or 1e-3 <= abs(value) < 1e4:
        return f"{value + 0.0:.4g}"
    mantissa, _, exponent = f"{value:.3e}".partition("e")
    return f"{float(mantissa):g}e{int(exponent)}"


def log_text(exponent: float) -> str:
    """A tick of a log axis: 0.01, 20, 1e5."""
    return f"{10.0**exponent:.6g}" if -3.5 < exponent < 4.5 else _short_exponent(f"{10.0**exponent:.0e}")


def x_text(value: float, kind: XKind) -> str:
    """A position on the x axis: step 12,000 is "12k", 3,400,000 tokens "3.4M", 90 seconds "1m30s"."""
    if kind == "time":
        return _time_text(value)
    if kind == "tokens" or abs(value) >= 10_000:
        for size, unit in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
            if abs(value) >= size:
                return f"{value / size:.6g}{unit}"
    return f"{value + 0.0:.0f}"


def value_text(value: float, y_format: str) -> str:
    """A value at a line's end or at the cursor: `y_format`, with fewer digits where that takes more than 9 columns."""
    if not math.isfinite(value):
        return "–"
    text = format(value, y_format)
    if text.startswith("-") and not text.strip("-0."):  # "-0.00" says that a value fell when it did not
        return format(0.0, y_format)
    return text if len(text) <= 9 else _short_exponent(format(value, "+.2e" if "+" in y_format else ".2e"))


def log10(y: Floats) -> Floats:
    """The logarithm of positive values, NaN for the others: a log axis has no place for them."""
    positive = np.isfinite(y) & (y > 0)
    return np.where(positive, np.maximum(np.log10(np.where(positive, y, 1.0)), _SMALLEST_LOG), np.nan)


def _multiples(step: float, low: float, high: float) -> list[float]:
    slack = 1e-6 * min((high - low) / step, 1)  # a tick at the very end is not lost to rounding
    first, last = math.ceil(low / step - slack), math.floor(high / step + slack)
    return [step * n for n in range(first, last + 1)]


def _short_exponent(text: str) -> str:
    mantissa, _, exponent = text.partition("e")
    return f"{mantissa}e{int(exponent)}"


def _time_text(seconds: float) -> str:
    whole = round(abs(seconds))
    days, hours, minutes, rest = whole // 86400, whole // 3600 % 24, whole // 60 % 60, whole % 60
    parts = [(days, "d"), (hours, "h"), (minutes, "m"), (rest, "s")]
    first = next((index for index, (number, _) in enumerate(parts) if number), 3)
    shown = [f"{number}{unit}" for number, unit in parts[first : first + 2] if number or first == 3]
    return "".join(shown)
