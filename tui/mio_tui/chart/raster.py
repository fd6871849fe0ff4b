"""Points to braille dots: pure numpy, no screen.

A terminal cell holds 2 x 4 dots. Of the points that fall on one column of dots only the first, the last, the lowest and
the highest matter (M4, Jugel et al. 2014, "M4: A Visualization-Oriented Time Series Data Aggregation"), so the picture
is the one that all points would give, and no spike is lost.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Dots = NDArray[np.bool_]

ACROSS, DOWN = 2, 4  # dots per cell
BRAILLE = 0x2800
_BITS = np.array([[0x01, 0x08], [0x02, 0x10], [0x04, 0x20], [0x40, 0x80]], np.uint8)
_LIMIT = 1e300  # differences of larger values overflow
_DASH_ON, _DASH = 5, 8  # dots drawn of each period, measured along the line so that steep spans keep the pattern


@dataclass(frozen=True)
class Window:
    """The part of the plane that is drawn, and the dots it is drawn on. y counts upwards, rows of dots downwards."""

    x_low: float
    x_high: float
    y_low: float
    y_high: float
    columns: int
    rows: int

    def column(self, x: Floats) -> Ints:
        """The column of dots of each x; outside the window it lies below 0 or above `columns` - 1."""
        return _rounded((x - self.x_low) / (self.x_high - self.x_low) * (self.columns - 1))

    def row(self, y: Floats) -> Ints:
        """The row of dots of each y, at most one height of the window outside it."""
        share = np.clip((self.y_high - y) / (self.y_high - self.y_low), -1, 2)
        return _rounded(share * (self.rows - 1))


def line(window: Window, x: Floats, y: Floats, *, dash: bool = False, marks: bool = False) -> Dots:
    """The dots (rows, columns) of consecutive points joined by straight lines.

    `x` ascends. A y that is NaN or infinite is a gap: nothing joins its neighbours. A point between two gaps is drawn
    as a square of 2 x 2 dots, and with `marks` each point as one of 3 x 3.
    """
    dots = np.zeros((window.rows, window.columns), np.bool_)
    x, y = _visible(x, np.where(np.isfinite(y), y, np.nan), window.x_low, window.x_high)
    kept = np.flatnonzero(~np.isnan(y))
    if not kept.size:
        return dots
    column, row = window.column(x[kept]), window.row(y[kept])
    gap = np.diff(kept) > 1
    starts = np.concatenate(([0], np.flatnonzero(gap | (np.diff(column) != 0)) + 1))
    ends = np.append(starts[1:], kept.size) - 1
    top, bottom = np.minimum.reduceat(row, starts), np.maximum.reduceat(row, starts)
    joined = ~gap[ends[:-1]]
    alone = ~np.append(False, joined) & ~np.append(joined, False) & (top == bottom)
    # a vertical stroke for each group of points, then the join to the next group: 2n - 1 strokes in drawing order
    strokes = np.empty((2 * starts.size - 1, 4), np.int64)
    strokes[::2] = np.stack((column[starts], top, column[starts], bottom), 1)
    strokes[1::2] = np.stack((column[ends[:-1]], row[ends[:-1]], column[starts[1:]], row[starts[1:]]), 1)
    is_join = np.arange(len(strokes)) % 2 == 1
    drawn = np.ones(len(strokes), np.bool_)
    drawn[1::2] = joined
    _stroke(dots, strokes[drawn], is_join[drawn], dash)
    if alone.any():
        _squares(dots, column[starts[alone]], row[starts[alone]], range(2))
    if marks:
        _squares(dots, column, row, range(-1, 2))
    return dots


def guide(window: Window, y: float) -> Dots:
    """The dots (rows, columns) of a dotted horizontal line: one dot per cell, nothing where y is out of the window."""
    dots = np.zeros((window.rows, window.columns), np.bool_)
    if window.y_low <= y <= window.y_high:
        dots[int(window.row(np.array([y]))[0]), ::ACROSS] = True
    return dots


def cells(dots: Dots) -> NDArray[np.uint8]:
    """The braille pattern (rows / 4, columns / 2) of dots: the character is U+2800 plus it, 0 is an empty cell."""
    rows, columns = dots.shape
    pattern = np.zeros((rows // DOWN, columns // ACROSS), np.uint8)
    for down in range(DOWN):
        for across in range(ACROSS):
            pattern |= dots[down::DOWN, across::ACROSS] * _BITS[down, across]
    return pattern


def _rounded(values: Floats) -> Ints:
    return np.floor(values + 0.5).astype(np.int64)


def _visible(x: Floats, y: Floats, low: float, high: float) -> tuple[Floats, Floats]:
    """The points within [low, high], and where the line enters and leaves that range."""
    y = np.clip(y, -_LIMIT, _LIMIT)
    first, last = int(np.searchsorted(x, low, "left")), int(np.searchsorted(x, high, "right"))
    xs, ys = [x[first:last]], [y[first:last]]
    if 0 < first < x.size:
        xs.insert(0, np.array([low]))
        ys.insert(0, _between(x, y, first, low))
    if 0 < last < x.size:
        xs.append(np.array([high]))
        ys.append(_between(x, y, last, high))
    return np.concatenate(xs), np.concatenate(ys)


def _between(x: Floats, y: Floats, right: int, at: float) -> Floats:
    share = (at - x[right - 1]) / (x[right] - x[right - 1])
    return np.array([y[right - 1] * (1 - share) + y[right] * share])


def _stroke(dots: Dots, strokes: Ints, is_join: Dots, dash: bool) -> None:
    """Draw strokes (n, 4) of column, row, column, row; of joins only what lies between their two ends."""
    across, down = strokes[:, 2] - strokes[:, 0], strokes[:, 3] - strokes[:, 1]
    steps = np.maximum(np.abs(across), np.abs(down))
    counts = np.maximum(np.where(is_join, steps - 1, steps + 1), 0)
    of = np.repeat(np.arange(len(strokes)), counts)
    along = np.arange(of.size)
    index = along - (np.cumsum(counts) - counts)[of] + is_join[of]
    share = index / np.maximum(steps, 1)[of]
    column = strokes[of, 0] + _rounded(across[of] * share)
    row = strokes[of, 1] + _rounded(down[of] * share)
    if dash:  # the tips of a spike stay whatever the pattern says, else it would look lower than it is
        tip = ~is_join[of] & (steps[of] > 2) & ((index == 0) | (index == steps[of]))
        shown = (along % _DASH < _DASH_ON) | tip
        column, row = column[shown], row[shown]
    _set(dots, column, row)


def _squares(dots: Dots, column: Ints, row: Ints, around: range) -> None:
    for down in around:
        for across in around:
            _set(dots, column + across, row + down)


def _set(dots: Dots, column: Ints, row: Ints) -> None:
    inside = (column >= 0) & (column < dots.shape[1]) & (row >= 0) & (row < dots.shape[0])
    dots[row[inside], column[inside]] = True
