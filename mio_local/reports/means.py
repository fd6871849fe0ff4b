"""Means with their standard errors and shares with their intervals, and what can be said of two of them."""

import math
from dataclasses import dataclass
from typing import Any

from mio_local.objectives.intervals import SURE, half, proportion
from mio_local.runs.fields import number


@dataclass(frozen=True)
class Mean:
    """A mean, its standard error where that is known, and of how many."""

    value: float
    stderr: float | None = None
    count: float | None = None

    @property
    def sure(self) -> float | None:
        """Half of the 95 % interval."""
        return half(self.stderr)

    @property
    def rose(self) -> bool:
        """Measurably above zero."""
        return self.sure is not None and self.value > self.sure

    @property
    def fell(self) -> bool:
        """Measurably below zero."""
        return self.sure is not None and self.value < -self.sure

    def above(self, other: "Mean") -> bool:
        """Whether it is measurably above another mean, taken as independent of it."""
        if self.stderr is None or other.stderr is None:
            return False
        return self.value - other.value > SURE * math.hypot(self.stderr, other.stderr)

    @property
    def spread(self) -> float:
        """The standard deviation of what it is the mean of; 0 where that is not known."""
        return (self.stderr or 0.0) * math.sqrt(self.count or 0.0)

    @property
    def size(self) -> float:
        """The root mean square of what it is the mean of."""
        return math.hypot(self.value, self.spread)


@dataclass(frozen=True)
class Share:
    """A share of `count`, and its 95 % interval, which is all of [0, 1] where `count` is not known."""

    value: float
    count: int = 0

    @property
    def low(self) -> float:
        return proportion(self.value, self.count)[0] or 0.0

    @property
    def high(self) -> float:
        high = proportion(self.value, self.count)[1]
        return 1.0 if high is None else high

    def above(self, other: "Share") -> bool:
        """Whether it is measurably above another: by the interval of the difference (Newcombe 1998, method 10)."""
        return self.value - other.value > math.hypot(self.value - self.low, other.high - other.value)


def mean_of(event: dict[str, Any], key: str, count: str = "pairs") -> Mean | None:
    """A mean of an event, with what the event holds beside it; None for none that is finite."""
    value, stderr, of = (number(event, name) for name in (key, f"{key}_stderr", count))
    known = stderr is not None and stderr >= 0
    return None if value is None else Mean(float(value), float(stderr or 0) if known else None, max(of or 0, 0))


def rise(change: Mean) -> float:
    """By which part a perplexity rose whose log changed so."""
    return math.expm1(min(change.value, 100.0))


def shown_rise(change: Mean) -> str:
    part = rise(change)
    return f"{part:+.0%}" if part < 10 else f"times {part + 1:.3g}"
