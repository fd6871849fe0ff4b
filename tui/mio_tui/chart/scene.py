"""A chart as character cells: where axes, curves and labels go. Pure, so it is tested without a terminal."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from rich.cells import cell_len

from mio_tui.chart.axes import (
    Range,
    XKind,
    end_text,
    log10,
    log_text,
    log_ticks,
    tick_text,
    ticks,
    value_text,
    x_text,
    x_ticks,
)
from mio_tui.chart.curve import Curve, Guide, nearest
from mio_tui.chart.frame import Frame, shorten
from mio_tui.chart.labels import Label, on_rows, width_of
from mio_tui.chart.raster import ACROSS, BRAILLE, DOWN, Window, cells, guide, line

COLORS = ("plain", "chosen", "rejected", "a", "b", "c", "d")
STYLES = ("axis", "label", "guide", "cursor", *COLORS)
AXIS, LABEL, GUIDE, CURSOR = range(4)
THIN = 64  # added to the number of a colour: drawn dim

_LEAST_PLOT = 24  # columns that the curves keep before labels get any


@dataclass(frozen=True)
class Area:
    """The cells of a frame that the curves are drawn in."""

    left: int
    top: int
    width: int
    height: int

    def x_at(self, column: int, x: Range) -> float:
        """The x in the middle of a column of the frame, held within the range `x` that the area shows."""
        share = (ACROSS * (column - self.left) + 0.5) / max(ACROSS * self.width - 1, 1)
        return x[0] + min(max(share, 0.0), 1.0) * (x[1] - x[0])


@dataclass(frozen=True)
class Scene:
    """What to draw. `y` is in drawn units, exponents where `log_y`. The last of `curves` is on top, thin ones below."""

    curves: Sequence[Curve]
    guides: Sequence[Guide]
    x: Range
    y: Range
    empty: str = ""
    x_kind: XKind = "step"
    y_format: str = "+.2f"
    log_y: bool = False
    ascii: bool = False
    cursor: float | None = None
    margin: int = 0  # the least columns for labels, so that a label that gets shorter moves nothing
    bare: bool = False  # few rows: no labels, and ticks at the ends of y

    @property
    def signs(self) -> str:
        """Axis, tick, up, down and ellipsis."""
        return "|+^v~" if self.ascii else "│┤↑↓…"

    def drawn(self, y: NDArray[np.float64]) -> NDArray[np.float64]:
        """Values in drawn units."""
        return log10(y) if self.log_y else y


def paint(scene: Scene, width: int, height: int) -> tuple[Frame, Area, int]:
    """The picture, the cells of it that hold the curves, and the columns of its label margin."""
    frame = Frame(width, height)
    top = 1 if scene.cursor is not None and height > 2 else 0
    bottom = 1 if height - top > 3 else 0
    rows = height - top - bottom
    y_ticks = _y_ticks(scene, rows)
    gutter = max([4, *(cell_len(text) for _, text in y_ticks)]) + 1
    if width - gutter < 8 or rows < 2:
        gutter = 0
    labels = _labels(scene, rows, min((width - gutter) // 3, max(width - gutter - _LEAST_PLOT - 1, 0)))
    margin = max([scene.margin, *(width_of(pieces) + 1 for _, pieces in labels)])
    if scene.bare or width - gutter - margin < _LEAST_PLOT:
        labels, margin = [], 0
    area = Area(gutter, top, max(width - gutter - margin, 0), max(rows, 0))
    if area.width and area.height:
        _axes(frame, scene, area, y_ticks)
        _plot(frame, scene, area)
        for row, pieces in labels:
            column = area.left + area.width + 1
            for text, style in pieces:
                frame.put(column, top + row, text, style)
                column += cell_len(text)
    if top:
        _header(frame, scene, area, width)
    return frame, area, margin


def style_of(curve: Curve) -> int:
    """The style number of a curve; a colour that is not known is drawn as "plain"."""
    number = STYLES.index(curve.color if curve.color in COLORS else "plain")
    return number + THIN if curve.thin else number


def _row(scene: Scene, y: float, rows: int) -> int:
    """The cell row of a drawn y, held within the area."""
    share = (scene.y[1] - y) / (scene.y[1] - scene.y[0])
    return int(min(max(share, 0.0), 1.0) * (rows * DOWN - 1) + 0.5) // DOWN


def _y_ticks(scene: Scene, rows: int) -> list[tuple[int, str]]:
    if rows < 1:
        return []
    low, high = scene.y
    most = rows // 4 + 1
    if scene.bare and not scene.log_y:
        marked = [(value, end_text(value)) for value in (low, high)]
    elif scene.log_y:
        marked = [(value, log_text(value)) for value in log_ticks(low, high, most)]
    else:
        values = ticks(low, high, most)
        step = values[1] - values[0] if len(values) > 1 else abs(high - low)
        marked = [(value, tick_text(value, step)) for value in values]
    return list({_row(scene, value, rows): text for value, text in marked}.items())


def _labels(scene: Scene, rows: int, most: int) -> list[tuple[int, list[tuple[str, int]]]]:
    """(row, pieces) of the labels: those of curves come first, the one on top before the others."""
    found: list[Label] = []
    if rows < 1:
        return []
    for curve in reversed(scene.curves):
        shown = scene.drawn(curve.y[: int(np.searchsorted(curve.x, scene.x[1], "right"))])
        finite = np.flatnonzero(np.isfinite(shown))
        if not curve.thin and finite.size:
            value = value_text(float(curve.y[finite[-1]]), scene.y_format)
            found.append(Label(_row(scene, float(shown[finite[-1]]), rows), curve.name, value, style_of(curve)))
    for mark in scene.guides:
        y = float(scene.drawn(np.array([mark.y]))[0])
        if np.isfinite(y):
            outside = scene.signs[2] if y > scene.y[1] else scene.signs[3] if y < scene.y[0] else ""
            value = " ".join(filter(None, (mark.value, outside)))
            found.append(Label(_row(scene, y, rows), mark.name, value, GUIDE, fixed=True))
    return on_rows(found, most, scene.signs[4])


def _axes(frame: Frame, scene: Scene, area: Area, y_ticks: list[tuple[int, str]]) -> None:
    if area.left:
        column = slice(area.top, area.top + area.height), area.left - 1
        frame.codes[column], frame.styles[column] = ord(scene.signs[0]), AXIS
        for row, text in y_ticks:
            frame.put(area.left - 1 - cell_len(text), area.top + row, text + scene.signs[1], AXIS)
    below = area.top + area.height
    if below >= frame.codes.shape[0]:
        return
    low, high = scene.x
    free = 0
    for value in x_ticks(low, high, area.width // 10 + 1, scene.x_kind):
        text = x_text(value, scene.x_kind)
        middle = area.left + round((value - low) / (high - low) * (area.width - 1))
        begin = min(max(middle - len(text) // 2, area.left), area.left + area.width - len(text))
        if begin >= free:
            frame.put(begin, below, text, AXIS)
            free = begin + len(text) + 1


def _plot(frame: Frame, scene: Scene, area: Area) -> None:
    window = Window(*scene.x, *scene.y, columns=area.width * ACROSS, rows=area.height * DOWN)
    pattern = np.zeros((area.height, area.width), np.uint8)
    codes, styles = frame.codes, frame.styles
    inside = (slice(area.top, area.top + area.height), slice(area.left, area.left + area.width))
    column = int(window.column(np.array([scene.cursor]))[0]) // ACROSS if scene.cursor is not None else -1
    if 0 <= column < area.width:
        codes[inside][:, column], styles[inside][:, column] = ord(scene.signs[0]), CURSOR
    layers = [
        (cells(guide(window, float(scene.drawn(np.array([mark.y]))[0]))), GUIDE, ".") for mark in scene.guides
    ]
    for curve in sorted(scene.curves, key=lambda curve: not curve.thin):
        dots = line(window, curve.x, scene.drawn(curve.y), dash=curve.dash, marks=curve.marks)
        layers.append((cells(dots), style_of(curve), "." if curve.thin else "+" if curve.dash else "*"))
    for layer, style, character in layers:
        filled = layer > 0
        pattern |= layer
        codes[inside][filled] = ord(character) if scene.ascii else BRAILLE + pattern[filled].astype(np.uint32)
        styles[inside][filled] = style
    if scene.empty and not any(np.isfinite(scene.drawn(curve.y)).any() for curve in scene.curves):
        text = shorten(f" {scene.empty} ", area.width, scene.signs[4])
        frame.put(area.left + (area.width - cell_len(text)) // 2, area.top + area.height // 2, text, LABEL)


def _header(frame: Frame, scene: Scene, area: Area, width: int) -> None:
    """What the curves are at the cursor; of a point that is not there, where it is."""
    if scene.cursor is None:
        return
    step = f"step {scene.cursor:.0f}" if scene.x_kind == "step" else x_text(scene.cursor, scene.x_kind)
    pieces = [(step + (" tokens" if scene.x_kind == "tokens" else ""), LABEL)]
    column = (scene.x[1] - scene.x[0]) / max(area.width, 1)
    for curve, (x, y) in readings(scene, area):
        where = "" if abs(x - scene.cursor) <= max(column, 1) else f" @{x_text(x, scene.x_kind)}"
        pieces.append((f"{curve.name} {value_text(y, scene.y_format)}{where}", style_of(curve)))
    column = 0
    for text, style in pieces:
        text = shorten(text, width - column, scene.signs[4])
        frame.put(column, 0, text, style)
        column += cell_len(text) + 2


def readings(scene: Scene, area: Area) -> list[tuple[Curve, tuple[float, float]]]:
    """Each curve's point nearest to the cursor, the curve on top first; curves that do not reach it are left out."""
    if scene.cursor is None:
        return []
    column = (scene.x[1] - scene.x[0]) / max(area.width, 1)
    found = [(curve, nearest(curve, scene.cursor, column)) for curve in reversed(scene.curves)]
    return [(curve, point) for curve, point in found if point is not None]
