"""A box with a number, a title and what it frames. Of its frame only what has changed is drawn anew.

What lies behind other widgets costs as much as what is seen, as Textual renders it all, and it lays all out once more
after each change of size, in case something scrolls: a panel change took 58 ms of CPU, and takes 15.
"""

from typing import ClassVar

from rich.segment import Segment
from rich.style import Style
from rich.text import Text
from textual.containers import Container, VerticalScroll
from textual.geometry import NULL_SPACING, Region, Size
from textual.layout import DockArrangeResult
from textual.layouts.vertical import VerticalLayout
from textual.message import Message
from textual.reactive import Reactive
from textual.strip import Strip
from textual.widget import Widget

from mio_tui.contrast import filtered

FRAME = ("panel--frame", "panel--frame-current")


class Picked(Message):
    """A panel was chosen with the mouse, counted from 0."""

    def __init__(self, index: int) -> None:
        super().__init__()
        self.index = index


class Ground(Container):
    """What other widgets stand on: one blank row, as often as it is high."""

    virtual_size: Reactive[Size] = Reactive(Size(0, 0), repaint=False)  # it does not scroll
    only: tuple[Widget, ...] = ()  # the children that have all the room

    def show_only(self, *children: Widget) -> None:
        """Give these all the room, one below the other; without any, all have their places again.

        The others are not laid out, rather than hidden: what was hidden is styled and drawn anew when it comes back.
        """
        if children != self.only:
            self.only = children
            self.refresh(layout=True, repaint=False)

    def arrange(self, size: Size, optimal: bool = False) -> DockArrangeResult:
        if not self.only:
            return super().arrange(size, optimal)
        shown = [child for child in self.only if self.shows(child)]
        return DockArrangeResult(VerticalLayout().arrange(self, shown, size), set(shown), NULL_SPACING)

    def shows(self, child: Widget) -> bool:
        """Whether a child has a place."""
        return child.display and (not self.only or child in self.only)

    def render_lines(self, crop: Region) -> list[Strip]:
        return _blank(self, crop)


class Scroll(VerticalScroll, can_focus=False):
    """The same, of what is scrolled."""

    def render_lines(self, crop: Region) -> list[Strip]:
        return _blank(self, crop)


def _blank(widget: Widget, crop: Region) -> list[Strip]:
    return filtered(widget, [Strip.blank(crop.width, widget.rich_style)]) * crop.height


class Panel(Ground):
    """A frame that it draws itself: with a border of Textual's, each new title would repaint all that is inside."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {*FRAME, "panel--title", "panel--below"}
    DEFAULT_CSS = """
    Panel {
        width: 1fr; height: 1fr;
        & > * { margin: 1; }
        & > .panel--frame { color: $border-blurred; }
        & > .panel--frame-current { color: $primary; }
        & > .panel--title { color: $foreground; }
        & > .panel--below { color: $text-muted; }
    }
    """

    def __init__(self, index: int, title: str, *, id: str) -> None:
        super().__init__(id=id)
        self.index = index
        self.current = False
        self._title, self._below = Text(title), Text("")
        self._drawn: tuple[tuple[object, ...], list[Strip]] | None = None

    def entitle(self, title: Text, below: Text | None = None) -> None:
        """Name the box, and say something at its lower edge. Both are cut where they are too long."""
        below = below or Text("")
        width, height = self.size
        changed = [y for y, old, new in ((0, self._title, title), (height - 1, self._below, below)) if old != new]
        self._title, self._below = title, below
        if changed:
            self.refresh(*(Region(0, y, width, 1) for y in changed))

    def say_below(self, below: Text) -> None:
        """Say something else at the lower edge."""
        self.entitle(self._title, below)

    def mark(self, current: bool) -> None:
        """Show whether this is the panel that keys act on."""
        if current != self.current:
            self.current = current
            width, height = self.size
            rows = (Region(0, y, width, 1) for y in (0, height - 1))
            self.refresh(*rows, Region(0, 0, 1, height), Region(width - 1, 0, 1, height))

    def render_lines(self, crop: Region) -> list[Strip]:
        width, height = self.size
        if width < 2 or height < 2:
            return super().render_lines(crop)
        first, middle, last = self._rows(width)
        strips = [first, *[middle] * (height - 2), last][crop.y : crop.bottom]
        return strips if crop.column_span == (0, width) else [strip.crop(*crop.column_span) for strip in strips]

    def notify_style_update(self) -> None:
        super().notify_style_update()
        self._drawn = None

    def _rows(self, width: int) -> list[Strip]:
        """The row at the top, each one between, and the one at the bottom."""
        shown = (width, self.current, self._title, self._below)
        if self._drawn is None or self._drawn[0] != shown:
            frame = self.get_component_rich_style(FRAME[self.current])
            bold = Style(bold=self.current)
            name = Text.assemble(f"{self.index + 1} ", self._title)
            above = self._words(name, width, self.get_component_rich_style("panel--title") + bold)
            below = self._words(self._below, width, self.get_component_rich_style("panel--below"))
            over, under = ("─" * (width - 3 - sum(word.cell_length for word in words)) for words in (above, below))
            rows = (
                [Segment("╭─", frame), *above, Segment(f"{over}╮", frame)],
                [Segment("│", frame), Segment(" " * (width - 2), self.rich_style), Segment("│", frame)],
                [Segment(f"╰{under}", frame), *below, Segment("─╯", frame)],
            )
            self._drawn = shown, filtered(self, [Strip(row, width) for row in rows])
        return self._drawn[1]

    def _words(self, words: Text, width: int, style: Style) -> list[Segment]:
        """What stands in the frame, with a blank at both sides; nothing where there is no room."""
        if not words.plain or width < 8:
            return []
        words = words.copy()
        words.truncate(width - 5, overflow="ellipsis")
        pieces = words.render(self.app.console, end="")
        told = [Segment(text, style + own if own else style) for text, own, _ in pieces]
        return [Segment(" ", style), *told, Segment(" ", style)]

    def on_click(self) -> None:
        self.post_message(Picked(self.index))
