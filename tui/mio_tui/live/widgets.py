"""The panels of the live screen, and the row of their names."""


from rich.cells import cell_len
from rich.text import Text
from textual import events
from textual.app import ComposeResult
from textual.containers import Vertical, VerticalScroll
from textual.message import Message
from textual.widgets import Static

from mio_tui.chart import Chart
from mio_tui.formatting import line
from mio_tui.live.plots import CHARTS, Plot
from mio_tui.static_text import StaticText

SHORT = {"information": "info"}
NAMES = (*(SHORT.get(name, name) for name in CHARTS), "sample", "system", "log")


class Picked(Message):
    """A panel was chosen with the mouse, counted from 0."""

    def __init__(self, index: int) -> None:
        super().__init__()
        self.index = index


class PlotChart(Chart):
    """A chart whose number format follows what it shows."""

    _unit = ""

    def look(self, plot: Plot, x_end: float | None, empty: str) -> None:
        """Draw a plot; `empty` is said where it has no points."""
        if plot.title != self._unit:
            self.forget_y()
        self._unit, self.y_format, self.empty = plot.title, plot.form, empty
        self.show(plot.curves, plot.guides, x_end, None if self.log_y else plot.fixed)


class Panel(Vertical):
    """A box with a number and a title, framing what it shows."""

    DEFAULT_CSS = """
    Panel { border: round $border-blurred; width: 1fr; height: 1fr; }
    Panel.-current { border: round $primary; border-title-style: bold; }
    """

    def __init__(self, index: int, *, id: str) -> None:
        super().__init__(id=id)
        self.index = index
        self.entitle(NAMES[index])

    def entitle(self, title: str, below: str = "") -> None:
        """Name the box, and say something at its lower edge."""
        for attribute, words in (("border_title", f"{self.index + 1} {title}"), ("border_subtitle", below)):
            if getattr(self, f"_{attribute}_words", None) != words:
                setattr(self, f"_{attribute}_words", words)
                setattr(self, attribute, line(words))

    def on_click(self) -> None:
        self.post_message(Picked(self.index))


class ChartPanel(Panel):
    """A panel with a chart in it."""

    def compose(self) -> ComposeResult:
        yield PlotChart()

    @property
    def chart(self) -> PlotChart:
        return self.query_one(PlotChart)


class TextPanel(Panel):
    """A panel with text that scrolls."""

    DEFAULT_CSS = """
    TextPanel VerticalScroll { scrollbar-size-vertical: 1; padding: 0 1; }
    TextPanel Static { height: auto; min-height: 100%; }
    """

    def __init__(self, index: int, *, id: str, follow: bool = False) -> None:
        super().__init__(index, id=id)
        self.follow = follow  # stay at the end while lines come, unless one scrolled up
        self._shown = Text()

    def compose(self) -> ComposeResult:
        yield VerticalScroll(Static(markup=False), can_focus=False)

    def on_mount(self) -> None:
        if self.follow:
            self.query_one(VerticalScroll).anchor()

    def show(self, text: Text) -> None:
        """Show another text, where it is another."""
        if text == self._shown:
            return
        self._shown = text
        self.query_one(Static).update(text)

    def scroll_by(self, rows: int) -> None:
        """Scroll down by rows, up where they are negative."""
        self.query_one(VerticalScroll).scroll_relative(y=rows, animate=False)


class Tabs(StaticText):
    """The names of the panels, of which one is shown at a time. A click chooses."""

    def __init__(self, *, id: str, classes: str = "") -> None:
        super().__init__(id=id, classes=classes)
        self._ends: list[int] = []

    def point_at(self, current: int, width: int, color: str) -> None:
        """Mark one; the others are shortened where the row is too narrow for all."""
        names = [f"{number} {name}" for number, name in enumerate(NAMES, 1)]
        if sum(cell_len(name) + 2 for name in names) > width:
            names = [name if index == current else name[:3] for index, name in enumerate(names)]
        text, self._ends = Text(), []
        for index, name in enumerate(names):
            text.append(f" {name} ", style=f"bold reverse {color}" if index == current else "")
            self._ends.append(text.cell_len)
        self.show(text)

    def on_click(self, event: events.Click) -> None:
        for index, end in enumerate(self._ends):
            if event.x < end:
                self.post_message(Picked(index))
                return
