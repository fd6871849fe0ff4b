"""The curves of runs as SVG that takes its colours from the page around it: no ids, no script, no fixed size.

Chosen is solid with dots, rejected dashed; thin is the training batches, thick the held-out pairs. Several runs in one
picture differ by colour, by dash and by the shape of their points.
"""

import html
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from mio_local.reports.reward_figures import FIGURES, drawn, held_out
from mio_local.runs.history import History
from mio_local.text import visible

SIDES = ("chosen", "rejected")
POINTS = 300  # columns a curve is reduced to, the lowest and the highest value of each kept
MOST_MARKS = 40
LARGEST = 1e9
SHAPES = (
    "M-4.2 0a4.2 4.2 0 1 0 8.4 0a4.2 4.2 0 1 0-8.4 0z", "M-3.8-3.8h7.6v7.6h-7.6z", "M0-5.2L5 3.8h-10z",
    "M0-5.4L5.4 0L0 5.4L-5.4 0z", "M0 5.2L5-3.8h-10z", "M-1.5-5h3v3.5h3.5v3h-3.5v3.5h-3v-3.5h-3.5v-3h3.5z",
)  # fmt: skip
COMPARED = (
    ("margin", "Margin: chosen less rejected, nats"), ("rewards/accuracies", "Preference accuracy"),
    ("loss", "Loss"), ("rewards/margins", "Reward margin"),
    ("mi/js", "Mutual information, JS, nats"), ("mi/dv", "Mutual information, DV, nats"),
)  # fmt: skip
SHARES = ("rewards/accuracies", "pass@1", "pass@k")

Curve = tuple[np.ndarray, np.ndarray]
Place = Callable[[float], float]


@dataclass(frozen=True)
class Line:
    """A curve and its looks, as classes of the page's style; `name` stands at its end, and beside its points."""

    curve: Curve
    looks: str
    name: str = ""
    shape: int = -1


def series(history: History, kind: str, key: str) -> Curve:
    """(steps, values) of one figure, those that are numbers; `margin` is chosen less rejected, in nats. Of a figure of
    rounds, "step" is what they drew."""
    if key in FIGURES:
        steps, values = (held_out if kind == "eval" else drawn)(history, key)
    elif key == "margin":
        steps, values = history.column(kind, "delta/chosen")
        with np.errstate(over="ignore"):
            values = values - history.column(kind, "delta/rejected")[1]
    else:
        steps, values = history.column(kind, key)
    there = np.isfinite(steps) & np.isfinite(values)
    return steps[there], np.clip(values[there], -LARGEST, LARGEST)


def likelihoods(
    history: History, target: float | None, limits: tuple[float, float], size: tuple[int, int], name: str
) -> str:
    """The log-probs of chosen and rejected answers against the start."""
    lines: list[Line] = []
    for side in SIDES:
        batches, held_out = (series(history, kind, f"delta/{side}") for kind in ("step", "eval"))
        if len(batches[0]):
            alone = "" if len(held_out[0]) else side
            lines.append(Line(batches, f"thin {side}", alone))
        if len(held_out[0]):
            lines.append(Line(held_out, f"line {side}", side, 0 if side == "chosen" else 1))
    words = f"Change of the log-prob of chosen and rejected answers by step, {name}"
    return _panel(lines, size, limits, words, target, room=122, zero=True)


def shared_limits(histories: Sequence[History], targets: Sequence[float | None]) -> tuple[float, float]:
    """One vertical range for all likelihoods; a target that would flatten the curves is left outside."""
    sides = [f"delta/{side}" for side in SIDES]
    ends = [0.0]
    for history in histories:
        for key in sides:
            held_out, batches = series(history, "eval", key)[1], series(history, "step", key)[1]
            ends += held_out.tolist()
            ends += np.percentile(batches, [2, 98]).tolist() if len(batches) else []
    span = max(ends) - min(ends)
    for target in targets:
        if target is not None and target - max(ends) <= max(3 * span, 1.0):
            ends.append(target)
    return _padded(ends)


def comparisons(histories: Sequence[History], labels: Sequence[str], size: tuple[int, int]) -> list[tuple[str, str]]:
    """(title, picture) of each figure that any of the runs has, all runs in one."""
    found: list[tuple[str, str]] = []
    of_rounds = ((name, figure.title[0].upper() + figure.title[1:]) for name, figure in FIGURES.items())
    for key, title in (*COMPARED, *of_rounds):
        lines: list[Line] = []
        for number, (history, label) in enumerate(zip(histories, labels, strict=True)):
            held_out, batches = series(history, "eval", key), series(history, "step", key)
            looks = f"run-{number % 6}" + (" second" if number >= 6 else "")
            only = len(held_out[0]) < 2
            if len(batches[0]) and (only or (key in (*FIGURES, "loss") and len(histories) == 1)):
                lines.append(Line(batches, f"thin {looks}", label if only else ""))
            if len(held_out[0]):
                lines.append(Line(held_out, f"line {looks}", label, number % 6))
        ends = [value for line in lines for value in line.curve[1].tolist()]
        if ends:
            share = key in SHARES and 0 <= min(ends) <= max(ends) <= 1
            limits = (0.0, 1.0) if share else _padded(ends)
            found.append((title, _panel(lines, size, limits, f"{title}, by step", room=24)))
    return found


def swatch(number: int) -> str:
    """A run's line and point, for a legend."""
    looks = f"run-{number % 6}" + (" second" if number >= 6 else "")
    return (
        f'<svg class="swatch" viewBox="0 0 34 12" aria-hidden="true"><path class="line {looks}" d="M1 6H33"/>'
        f'<path class="mark {looks}" transform="translate(17 6)" d="{SHAPES[number % 6]}"/></svg>'
    )


def _panel(
    lines: Sequence[Line], size: tuple[int, int], limits: tuple[float, float], words: str, target: float | None = None,
    room: int = 24, zero: bool = False,
) -> str:  # fmt: skip
    """One picture with its axes; `room` is kept on the right for the lines' names."""
    width, height = size
    left, top, across, down = 46, 10, width - 46 - room, height - 10 - 34
    last = max([1.0, *(float(line.curve[0].max()) for line in lines)])
    low, high = limits

    def x(step: float) -> float:
        return across * step / last

    def y(value: float) -> float:
        return down * (high - value) / (high - low)

    grid: list[str] = []
    for value, text in _ticks(low, high, max(5, down // 50)):
        grid.append(f'<path class="grid" d="M0 {y(value):.1f}H{across}"/>')
        grid.append(f'<text class="tick" x="-7" y="{y(value) + 4:.1f}" text-anchor="end">{text}</text>')
    for value, text in _ticks(0, last, max(2, across // 90)):
        if value == int(value):
            grid.append(f'<text class="tick" x="{x(value):.1f}" y="{down + 17}" text-anchor="middle">{text}</text>')
    grid.append(f'<text class="tick" x="{across}" y="{down + 31}" text-anchor="end">step</text>')
    if zero:
        grid.append(f'<path class="zero" d="M0 {y(0):.1f}H{across}"/>')
    if target is not None:
        inside, said = target <= high, f"target ln 2 / beta = {target:+.2f}"
        if inside:
            grid.append(f'<path class="target" d="M0 {y(target):.1f}H{across}"/>')
        # at the right, where the curves are furthest from it at the start; under the line where it is at the top
        at = max(y(target) - 6, 12) if inside else 12
        text = said if inside else f"{said}, above this picture"
        grid.append(f'<text class="said target" x="{across - 4}" y="{at:.1f}" text-anchor="end">{_signs(text)}</text>')
    drawn = [f'<path class="{line.looks}" d="{_path(line.curve, x, y)}"/>' for line in lines]
    marks = [mark for line in lines if line.shape >= 0 for mark in _marks(line, x, y)]
    names = _names([line for line in lines if line.name], y, across, down) if room > 40 else []
    return (
        f'<svg class="curves" viewBox="0 0 {width} {height}" role="img" aria-label="{_safe(words)}">'
        f'<g transform="translate({left} {top})">{"".join(grid)}'
        f'<svg width="{across}" height="{down}" overflow="hidden">{"".join(drawn)}</svg>{"".join(marks)}'
        f"{''.join(names)}</g></svg>"
    )


def _path(curve: Curve, x: Place, y: Place) -> str:
    steps, values = (axis.tolist() for axis in _reduced(curve))
    return "M" + "L".join(f"{x(step):.1f} {y(value):.1f}" for step, value in zip(steps, values, strict=True))


def _reduced(curve: Curve) -> Curve:
    """The lowest and the highest point of each of POINTS parts, in their order."""
    steps, values = curve
    if len(steps) <= 2 * POINTS:
        return curve
    kept = {0, len(steps) - 1}
    for part in np.array_split(np.arange(len(steps)), POINTS):
        kept |= {int(part[np.argmin(values[part])]), int(part[np.argmax(values[part])])}
    chosen = sorted(kept)
    return steps[chosen], values[chosen]


def _marks(line: Line, x: Place, y: Place) -> list[str]:
    steps, values = (axis.tolist() for axis in line.curve)
    places = np.unique(np.linspace(0, len(steps) - 1, min(len(steps), MOST_MARKS)).round().astype(int)).tolist()
    looks = line.looks.replace("line", "mark", 1)
    return [
        f'<path class="{looks}" transform="translate({x(steps[place]):.1f} {y(values[place]):.1f})" '
        f'd="{SHAPES[line.shape]}"><title>{_safe(line.name)}, step {steps[place]:.0f}: '
        f"{_signs(f'{values[place]:.4g}')}</title></path>"
        for place in places
    ]


def _names(lines: Sequence[Line], y: Place, across: int, down: int) -> list[str]:
    """The lines' names at their ends, moved apart."""
    made: list[str] = []
    before = -math.inf
    for line in sorted(lines, key=lambda line: y(line.curve[1][-1])):
        at = min(max(y(line.curve[1][-1]) + 4, before + 16, 10), down)
        before = at
        side = line.looks.split()[-1]
        value = _signs(f"{line.curve[1][-1]:+.2f}")
        made.append(f'<text class="said {side}" x="{across + 8}" y="{at:.1f}">{_safe(line.name)} {value}</text>')
    return made


def _padded(ends: list[float]) -> tuple[float, float]:
    low, high = min(ends), max(ends)
    room = 0.07 * (high - low) or max(abs(high) * 0.1, 0.1)
    return low - room, high + room


def _ticks(low: float, high: float, count: int) -> list[tuple[float, str]]:
    """Round values between the limits, with their texts."""
    raw = (high - low) / count
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(power * times for times in (1, 2, 5, 10) if power * times >= raw * 0.999)
    places = max(0, -math.floor(math.log10(step) + 1e-9))
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [(number * step, _signs(f"{number * step:z.{places}f}")) for number in range(first, last + 1)]


def _signs(text: str) -> str:
    return text.replace("-", "−")


def _safe(text: str) -> str:
    return html.escape(visible(text))
