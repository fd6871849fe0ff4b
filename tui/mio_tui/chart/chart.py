"""The chart widget: curves of a run, drawn with braille dots, of which only what changed is sent to the terminal."""

import os
from collections.abc import Sequence
from dataclasses import replace
from typing import ClassVar

import numpy as np
from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.geometry import Region, Size
from textual.reactive import Reactive, reactive
from textual.strip import Strip
from textual.widget import Widget

from mio_tui.chart.axes import Range, XKind, bounds, log10, with_guides, y_range
from mio_tui.chart.curve import Curve, Guide, smoothed
from mio_tui.chart.frame import Frame
from mio_tui.chart.scene import STYLES, Area, Scene, paint
from mio_tui.chart.theme_style import style_in_theme
from mio_tui.contrast import Seen, as_seen, seen_by

SMOOTHING = (0, 10, 25, 100)
"""The sensible values of `Chart.smoothing`, in points."""

FEW = 8  # rows
_CLOSEST = 1e-6  # the narrowest zoom, as a share of the whole


class Chart(Widget):
    """Curves over steps, tokens or seconds, with labels at their ends. It takes no keys and posts no messages.

    `smoothing` is the number of points in the moving mean that is drawn instead of each curve that has no marks;
    `log_y` draws powers of ten, on which non-positive values are gaps. `x_kind`, `y_format` and `empty` are looked at
    when the next curves are shown. A `titled` one whose newest values stand in a title drops its labels where it has
    less than `FEW` rows. In NO_COLOR terminals dash, dimness and label tell curves apart; with
    MIO_LOCAL_CHART=ascii the curves are drawn without braille.
    """

    COMPONENT_CLASSES: ClassVar[set[str]] = {f"chart--{name}" for name in STYLES}
    DEFAULT_CSS = """
    Chart {
        height: 1fr;
        & > .chart--axis { color: $foreground 60%; }
        & > .chart--label { color: $foreground; }
        & > .chart--guide { color: $foreground 60%; }
        & > .chart--cursor { color: $accent; }
        & > .chart--plain { color: $foreground; }
        & > .chart--chosen, & > .chart--a { color: $primary; }
        & > .chart--rejected, & > .chart--b { color: $warning; }
        & > .chart--c { color: $success; }
        & > .chart--d { color: $foreground; }
    }
    """

    ALLOW_SELECT = False  # a drag moves the crosshair

    virtual_size: Reactive[Size] = Reactive(Size(0, 0), repaint=False)  # it does not scroll: no second layout
    smoothing = reactive(0, repaint=False)
    log_y = reactive(False, repaint=False)

    def __init__(
        self,
        *,
        x_kind: XKind = "step",
        y_format: str = "+.2f",
        empty: str = "",
        titled: bool = False,
        name: str | None = None,
        id: str | None = None,
        classes: str | None = None,
    ) -> None:
        super().__init__(name=name, id=id, classes=classes)
        self.empty = empty
        self._titled = titled
        self._ascii = os.environ.get("MIO_LOCAL_CHART") == "ascii"  # for fonts without braille
        self.x_kind: XKind = x_kind
        self.y_format = y_format
        self.curves: tuple[Curve, ...] = ()
        self._guides: tuple[Guide, ...] = ()
        self.x_end: float | None = None
        self._y_fixed: Range | None = None
        self._zoomed: Range | None = None
        self._cursor: float | None = None
        self._held_y: Range | None = None
        self._margin = 0
        self._frame: Frame | None = None
        self._strips: list[Strip | None] = []
        self._seen: Seen | None = None
        self._styles: dict[int, Style] = {}
        self._area = Area(0, 0, 0, 0)

    def show(
        self,
        curves: Sequence[Curve],
        guides: Sequence[Guide] = (),
        x_end: float | None = None,
        y_fixed: Range | None = None,
    ) -> None:
        """Draw these; the last of `curves` is on top.

        x spans [0, `x_end`], or the data where that goes further. y is `y_fixed`, else it holds the data and each
        guide that is not absurdly far, and stays as it is while they lie inside it. The arrays must not change later.
        """
        if [curve.name for curve in curves] != [curve.name for curve in self.curves] or y_fixed != self._y_fixed:
            self.forget_y()
        self.curves, self._guides = tuple(curves), tuple(guides)
        self.x_end, self._y_fixed = x_end, y_fixed
        self._redraw()

    def forget_y(self) -> None:
        """The next curves are in another unit: their range of y begins anew."""
        self._held_y, self._margin = None, 0

    @property
    def x_range(self) -> Range:
        """The range of x that is drawn."""
        return self._zoomed or self._extent()

    @property
    def cursor(self) -> float | None:
        """The x of the crosshair, None where there is none."""
        return self._cursor

    def zoom(self, factor: float, at: float | None = None) -> None:
        """Show a range of x that is `factor` times narrower, around `at`; else around the cursor if it is seen, or the
        data's middle."""
        low, high = self.x_range
        whole = self._extent()
        if at is None:
            seen = self._cursor is not None and low <= self._cursor <= high
            at = self._cursor if seen and self._cursor is not None else (low + self._newest()) / 2
        width = max((high - low) / factor, (whole[1] - whole[0]) * _CLOSEST)
        self._look_at(at - (at - low) / (high - low) * width, width)

    def fit(self) -> None:
        """Show the whole range of x, and just the range of y that the data takes."""
        self._zoomed = self._held_y = None
        self._redraw()

    def pan(self, share: float) -> None:
        """Move right by a share of the range that is shown, left where it is negative."""
        low, high = self.x_range
        if self._zoomed is not None:
            self._look_at(low + share * (high - low), high - low)

    def move_cursor(self, columns: int) -> None:
        """Move the crosshair right by columns of characters; the first call puts it on the newest point."""
        low, high = self.x_range
        if self._cursor is None:
            self.set_cursor(self._newest())
            return
        column = (high - low) / max(self._area.width, 1)
        self.set_cursor(min(max(self._cursor + columns * column, low), high))

    def set_cursor(self, x: float | None) -> None:
        """Put the crosshair at `x`, or take it away."""
        self._cursor = x
        self._redraw()

    def watch_smoothing(self) -> None:
        self._refit()

    def watch_log_y(self) -> None:
        self._refit()

    def on_mouse_down(self, event: events.MouseDown) -> None:
        self.capture_mouse()
        self._point_at(event)

    def on_mouse_move(self, event: events.MouseMove) -> None:
        if self.app.mouse_captured is self:
            self._point_at(event)

    def on_mouse_up(self, event: events.MouseUp) -> None:
        self.release_mouse()

    def on_mouse_scroll_up(self, event: events.MouseScrollUp) -> None:
        self._wheel(event, 1.25)

    def on_mouse_scroll_down(self, event: events.MouseScrollDown) -> None:
        self._wheel(event, 0.8)

    def render_lines(self, crop: Region) -> list[Strip]:
        if self.gutter:  # a border is Textual's affair
            return super().render_lines(crop)
        left, right = crop.column_span
        strips = self._rows(crop.y, crop.bottom)
        return strips if right - left == self.size.width else [strip.crop(left, right) for strip in strips]

    def render_line(self, y: int) -> Strip:
        return self._rows(y, y + 1)[0]

    def _rows(self, first: int, end: int) -> list[Strip]:
        """Rows, each built when it is first asked for."""
        width, height = self.size
        if self._frame is None or self._frame.codes.shape != (height, width):
            self._frame, self._strips = self._paint(), [None] * height
        if (seen := seen_by(self)) != self._seen:
            self._seen, self._strips = seen, [None] * height
        rows: list[Strip] = []
        for y in range(first, end):
            strip = self._strips[y] if 0 <= y < height else Strip.blank(width, self.rich_style)
            if strip is None:
                segments = [Segment(text, self._style(style)) for text, style in self._frame.runs(y)]
                strip = self._strips[y] = Strip(as_seen(segments, seen), width)
            rows.append(strip)
        return rows

    def notify_style_update(self) -> None:
        """Colours may be others now: the theme changed."""
        super().notify_style_update()
        self._styles, self._strips = {}, [None] * len(self._strips)

    def _extent(self) -> Range:
        ends = [float(end) for curve in self.curves if curve.x.size for end in (curve.x[0], curve.x[-1])]
        low, high = min([0.0, *ends]), max([self.x_end or 0.0, *ends])
        return (low, high) if high > low else (low, low + 1)

    def _newest(self) -> float:
        """The x of the newest point, held within what is drawn."""
        low, high = self.x_range
        return min(max([low, *(float(curve.x[-1]) for curve in self.curves if curve.x.size)]), high)

    def _look_at(self, low: float, width: float) -> None:
        whole = self._extent()
        if width >= whole[1] - whole[0]:
            self._zoomed = None
        else:
            low = min(max(low, whole[0]), whole[1] - width)
            self._zoomed = (low, low + width)
        self._refit()

    def _refit(self) -> None:
        self._held_y = None
        self._redraw()

    def _point_at(self, event: events.MouseEvent) -> None:
        column = event.get_content_offset_capture(self).x
        self.set_cursor(self._area.x_at(column, self.x_range))

    def _wheel(self, event: events.MouseEvent, factor: float) -> None:
        event.stop()
        event.prevent_default()
        self.zoom(factor, self._area.x_at(event.get_content_offset_capture(self).x, self.x_range))

    def _scene(self) -> Scene:
        curves = [
            curve if curve.marks else replace(curve, y=smoothed(curve.y, self.smoothing))
            for curve in self.curves
        ]
        x = self.x_range
        return Scene(
            curves, self._guides, x, self._fitted_y(curves, x), self.empty, self.x_kind, self.y_format, self.log_y,
            self._ascii, self._cursor, self._margin, self._titled and self.size.height < FEW,
        )  # fmt: skip

    def _fitted_y(self, curves: Sequence[Curve], x: Range) -> Range:
        seen: list[np.ndarray] = []
        for curve in curves:  # with the neighbours of what is visible: the lines to them are visible too
            first, last = np.searchsorted(curve.x, x[0], "left"), np.searchsorted(curve.x, x[1], "right")
            seen.append(curve.y[max(int(first) - 1, 0) : int(last) + 1])
        guides = np.array([guide.y for guide in self._guides], np.float64)
        fixed = np.array(self._y_fixed if self._y_fixed is not None else (0.0, 0.0))
        if self.log_y:
            seen, guides, fixed = [log10(y) for y in seen], log10(guides), log10(fixed)
        if fixed[0] < fixed[1]:
            return float(fixed[0]), float(fixed[1])
        data = bounds(seen)
        if data is None:
            return y_range(None, *(bounds([guides]) or (0.0, 1.0)))
        self._held_y = y_range(self._held_y, *with_guides(data, guides[np.isfinite(guides)].tolist()))
        return self._held_y

    def _paint(self) -> Frame:
        frame, self._area, self._margin = paint(self._scene(), *self.size)
        return frame

    def _redraw(self) -> None:
        """Paint anew and refresh the cells that differ; off the screen, wait until a row is asked for."""
        if not self.is_attached or not self.size or not self.is_on_screen:
            self._frame = None
            self.refresh()
            return
        old, self._frame = self._frame, self._paint()
        changes = self._frame.changes(old)
        if changes is None or len(self._strips) != self.size.height:
            self._strips = [None] * self.size.height
            self.refresh()
            return
        for row, _, _ in changes:
            self._strips[row] = None
        if changes:
            self.refresh(*(Region(column, row, columns, 1) for row, column, columns in changes))

    def _style(self, number: int) -> Style:
        if number not in self._styles:
            self._styles[number] = style_in_theme(self, number)
        return self._styles[number]
