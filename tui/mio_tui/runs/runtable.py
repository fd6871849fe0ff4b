"""The table of runs: a row for each, found by the run's name. Only the rows that are seen are made and drawn."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import ClassVar

from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.binding import Binding, BindingType
from textual.geometry import Size
from textual.message import Message
from textual.scroll_view import ScrollView
from textual.strip import Strip

from mio_local.runs.summary import Row
from mio_tui.base import MOVING
from mio_tui.formatting import STATES, paint
from mio_tui.runs.run_columns import COLUMNS, GAP, Order, Place, fitted, needs, placed

LEVELS = {"good": "success", "warning": "warning", "bad": "error"}  # of verdicts, as theme variables
HEAD = 1  # rows above the first run


class RunTable(ScrollView, can_focus=True, inherit_bindings=False):
    """Draws only what differs from what it shows. The cursor stays on its run, or where that is gone, goes to the next
    one that is there."""

    ALLOW_SELECT = False
    DEFAULT_CSS = """
    RunTable {
        background: $background; color: $foreground; height: 1fr;
        overflow-x: hidden; scrollbar-gutter: stable; scrollbar-size-vertical: 1;
        & > .runtable--head { color: $text-muted; text-style: bold; }
        & > .runtable--cursor {
            background: $block-cursor-blurred-background; color: $block-cursor-blurred-foreground;
            text-style: $block-cursor-blurred-text-style;
        }
        &:focus > .runtable--cursor {
            background: $block-cursor-background; color: $block-cursor-foreground;
            text-style: $block-cursor-text-style;
        }
    }
    """
    COMPONENT_CLASSES: ClassVar[set[str]] = {"runtable--head", "runtable--cursor"}
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "open", "Open", show=False),
        Binding("up,k", "move(-1)", "Up", show=False, group=MOVING),
        Binding("down,j", "move(1)", "Down", show=False, group=MOVING),
        Binding("pageup", "page(-1)", "Page up", show=False, group=MOVING),
        Binding("pagedown", "page(1)", "Page down", show=False, group=MOVING),
        Binding("home,ctrl+home", "go(0)", "First", show=False, group=MOVING),
        Binding("end,ctrl+end", "go(-1)", "Last", show=False, group=MOVING),
    ]

    @dataclass
    class Highlighted(Message):
        """The cursor is on this run, or on none."""

        name: str

    @dataclass
    class Opened(Message):
        """Enter, or a click on the run under the cursor."""

        name: str

    @dataclass
    class HeadClicked(Message):
        """A click on this column's title."""

        column: str

    def __init__(self) -> None:
        super().__init__()
        self.rows: list[Row] = []
        self.names: list[str] = []  # of the runs, in the order of the table
        self.marked: set[str] = set()
        self.order = Order()
        self.cursor_row = 0
        self.places: list[Place] = []
        self._needs = needs(())
        self._last: tuple[list[str], int] = [], 0  # the runs that were shown last, if any, and the cursor's row
        self._drawn: dict[int, list[str]] = {}  # the cells of the rows that are seen, by their place on the screen

    @property
    def row(self) -> Row | None:
        """The run under the cursor."""
        return self.rows[self.cursor_row] if self.cursor_row < len(self.rows) else None

    @property
    def highlighted(self) -> str:
        """The name of the run under the cursor; empty where there is none."""
        return self.row.name if self.row else ""

    @property
    def top(self) -> int:
        """The first row that is seen."""
        return self.scroll_offset.y

    @property
    def page(self) -> int:
        """How many rows are seen at once."""
        return max(1, self.size.height - HEAD)

    def show(self, rows: list[Row], marked: Collection[str], order: Order, needed: dict[str, int]) -> None:
        """Show these runs in this order; `needed` says how many cells each column would use."""
        here, above = self.highlighted, self.cursor_row - self.top
        before = self.names, self.order, self._needs
        self._last = (self.names, self.cursor_row) if self.rows else self._last
        self.rows, self.marked, self.order, self._needs = rows, set(marked), order, needed
        self.names = [row.name for row in rows]
        if (self.names, order, needed) == before:
            self.refresh_changed()
            return
        self.cursor_row = _stay(*self._last, self.names)
        self.virtual_size = Size(0, HEAD + len(rows))
        self._place()
        at_top = self.top == 0 and self.cursor_row < self.page
        self._scroll(0 if at_top else self.cursor_row - above)
        if self.highlighted != here:
            self.post_message(self.Highlighted(self.highlighted))

    def refresh_changed(self) -> None:
        """Draw the rows again whose words are others than those that are seen: ages pass, too."""
        for y, drawn in list(self._drawn.items()):
            index = self.top + y - HEAD
            if index < len(self.rows) and self._cells(self.rows[index]) != drawn:
                self._draw(index)

    def move_cursor(self, row: int) -> None:
        """To this row, or the nearest that there is; into sight."""
        row = max(0, min(row, len(self.rows) - 1))
        if row == self.cursor_row or not self.rows:
            return
        self._draw(self.cursor_row)
        self.cursor_row = row
        self._draw(row)
        self._reveal()
        self.post_message(self.Highlighted(self.highlighted))

    def action_move(self, by: int) -> None:
        """Move by rows."""
        self.move_cursor(self.cursor_row + by)

    def action_page(self, by: int) -> None:
        """Move by as many rows as are seen."""
        self.move_cursor(self.cursor_row + by * self.page)

    def action_go(self, row: int) -> None:
        """To the first row, or with -1 to the last."""
        self.move_cursor(row % max(1, len(self.rows)))

    def action_open(self) -> None:
        """Open the run under the cursor."""
        if self.highlighted:
            self.post_message(self.Opened(self.highlighted))

    def on_click(self, event: events.Click) -> None:
        """On a title: order by it. On a run: go there; on the one under the cursor: open it."""
        if event.y < HEAD:
            found = [place.name for place in self.places if place.left <= event.x < place.left + place.width + GAP]
            self.post_message(self.HeadClicked(*found)) if found else None
            return
        row = self.top + event.y - HEAD
        if row == self.cursor_row:
            self.action_open()
        elif row < len(self.rows):
            self.move_cursor(row)

    def on_resize(self) -> None:
        self._place()
        self._reveal()

    def notify_style_update(self) -> None:
        super().notify_style_update()
        self._drawn.clear()

    def render_line(self, y: int) -> Strip:
        if y < HEAD:
            return self._head_line()
        index = self.top + y - HEAD
        if index >= len(self.rows):
            self._drawn.pop(y, None)
            return Strip.blank(self.size.width, self.rich_style)
        row = self.rows[index]
        cells = self._drawn[y] = self._cells(row)
        under = index == self.cursor_row
        base = self.get_component_rich_style("runtable--cursor") if under else self.rich_style
        styles = {"run": Style(bold=row.live or None)}
        if not under:
            styles["state"] = Style.parse(paint(self.app, STATES[row.state][1]))
            styles["told"] = Style.parse(paint(self.app, LEVELS.get(row.verdict_level, "")))
        segments = [Segment(" ", base)]
        for place, cell in zip(self.places, cells, strict=True):
            segments += [Segment(cell, base + styles.get(place.name)), Segment(" " * GAP, base)]
        return Strip(segments).adjust_cell_length(self.size.width, base)

    def _head_line(self) -> Strip:
        base = self.get_component_rich_style("runtable--head")
        words = " "
        for place in self.places:
            column = COLUMNS[place.name]
            sign = self.order.sign if place.name == self.order.column else ""
            title = f"{column.title:>{place.width}}" if column.right else column.title
            words += f"{title}{sign}".ljust(place.width + GAP)
        return Strip([Segment(words, base)]).adjust_cell_length(self.size.width, base)

    def _cells(self, row: Row) -> list[str]:
        made: list[str] = []
        for place in self.places:
            column = COLUMNS[place.name]
            if place.name == "state":
                made.append(("▸" if row.name in self.marked else " ") + column.words(row))
            else:
                made.append(fitted(column.words(row), place.width, right=column.right, middle=place.name == "run"))
        return made

    def _place(self) -> None:
        """Choose the columns anew."""
        self.places = placed(self._needs, self.size.width)
        self._drawn.clear()
        self.refresh()

    def _draw(self, index: int) -> None:
        self.refresh_line(index + HEAD)

    def _scroll(self, row: int) -> None:
        self.scroll_to(y=row, animate=False, force=True)
        self._reveal()

    def _reveal(self) -> None:
        """Scroll as little as brings the cursor into sight."""
        if self.cursor_row < self.top:
            self.scroll_to(y=self.cursor_row, animate=False, force=True)
        elif self.cursor_row >= self.top + self.page:
            self.scroll_to(y=self.cursor_row - self.page + 1, animate=False, force=True)


def _stay(before: Sequence[str], cursor: int, after: Sequence[str]) -> int:
    """The row of the run that the cursor was on; where it is gone, of the next one that is still there, else of the
    one before it."""
    places = {name: row for row, name in enumerate(after)}
    for name in (*before[cursor:], *reversed(before[:cursor])):
        if name in places:
            return places[name]
    return 0
