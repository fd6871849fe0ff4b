"""What a chart draws."""

from dataclasses import dataclass

import numpy as np

from mio_tui.chart.raster import Floats


@dataclass(frozen=True)
class Curve:
    """One line of a chart.

    `x` (n,) float64 ascends; `y` (n,) float64 may hold NaN or infinite values, which are gaps. `color` names a
    component class of `Chart`: "chosen", "rejected", "a", "b", "c", "d" or "plain". The label at the line's end is
    `name` and the last value. Raises ValueError where `x` and `y` are not two rows of equal length.
    """

    name: str
    x: Floats
    y: Floats
    color: str
    dash: bool = False  # the second channel beside colour, for eyes and terminals that see none
    thin: bool = False  # drawn dim and without a label, behind the others
    marks: bool = False  # each point is marked: few points that were measured, such as held-out evaluations

    def __post_init__(self) -> None:
        if self.x.ndim != 1 or self.x.shape != self.y.shape:
            raise ValueError(f"curve {self.name!r}: x {self.x.shape} and y {self.y.shape} must be rows of one length")


    def same(self, other: "Curve") -> bool:
        """Whether the two are drawn alike."""
        kinds = ((each.name, each.color, each.dash, each.thin, each.marks) for each in (self, other))
        return len(set(kinds)) == 1 and all(
            np.array_equal(*pair, equal_nan=True) for pair in ((self.x, other.x), (self.y, other.y))
        )


@dataclass(frozen=True)
class Guide:
    """A horizontal dotted line, labelled at the right by `name` and, where the axis does not tell it, its `value`."""

    y: float
    name: str
    value: str = ""


def smoothed(y: Floats, points: int) -> Floats:
    """The mean of each value and the up to `points` - 1 before it; gaps stay gaps and count for nothing.

    Only the past counts, so a new point changes no old one. The sum is taken anew for each window: a running sum would
    carry a single huge value on to the end of the run.
    """
    if points < 2 or not y.size:
        return y
    finite = np.isfinite(y)
    weights = np.ones(points)
    totals = np.convolve(np.clip(np.where(finite, y, 0.0), -1e300, 1e300), weights)[: y.size]
    numbers = np.convolve(finite.astype(np.float64), weights)[: y.size]
    return np.where(finite, totals / np.maximum(numbers, 1), np.nan)


def nearest(curve: Curve, x: float, within: float) -> tuple[float, float] | None:
    """The point of a curve nearest to `x`; None where `x` lies more than `within` before its first or past its last."""
    if not curve.x.size or not curve.x[0] - within <= x <= curve.x[-1] + within:
        return None
    right = min(int(np.searchsorted(curve.x, x)), curve.x.size - 1)
    index = right - 1 if right and x - curve.x[right - 1] < curve.x[right] - x else right
    return float(curve.x[index]), float(curve.y[index])
