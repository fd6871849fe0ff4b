"""The panels of the live screen, the row of their names, its lines."""

from collections.abc import Callable, Sequence
from typing import ClassVar

from rich.cells import cell_len
from rich.text import Text
from textual import events
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.widgets import Input, Static

from mio_tui.chart import Chart, Curve
from mio_tui.live.panel import Panel, Picked, Scroll
from mio_tui.live.plots import CHARTS, Plot
from mio_tui.live.rewards.reward_plots import REWARD_CHARTS
from mio_tui.static_text import StaticText

SHORT = {"information": "info"}
NAMES = (*(SHORT.get(name, name) for name in CHARTS), "answer", "system", "log")
REWARD_NAMES = (*REWARD_CHARTS, "answers", *NAMES[-2:])  # while a run's rewards are shown


def names_of(rewards: bool) -> tuple[str, ...]:
    """The panels' names."""
    return REWARD_NAMES if rewards else NAMES


class PlotChart(Chart):
    """A chart whose number format follows what it shows."""

    _shown: tuple[object, ...] = ("", "")
    can_log = False  # whether powers of ten make sense of what is shown

    def look(self, plot: Plot, x_end: float | None, empty: str) -> None:
        """Draw a plot, where it is another; `empty` is said where it has no points."""
        empty, self.can_log = plot.empty or empty, plot.log
        if self.log_y and not plot.log:
            self.log_y = False
        shown = (plot.title, plot.unit, plot.form, plot.guides, plot.fixed, x_end, empty, self.log_y)
        if shown == self._shown and len(plot.curves) == len(self.curves):
            if all(map(Curve.same, plot.curves, self.curves)):
                return
        elif shown[:2] != self._shown[:2]:
            self.forget_y()
        self._shown, self.y_format, self.empty = shown, plot.form, empty
        self.show(plot.curves, plot.guides, x_end, None if self.log_y else plot.fixed)


class ChartPanel(Panel):
    """A panel with a chart in it."""

    def compose(self) -> ComposeResult:
        yield PlotChart(titled=True)

    @property
    def chart(self) -> PlotChart:
        return self.query_one(PlotChart)


class TextPanel(Panel):
    """A panel with text that scrolls."""

    DEFAULT_CSS = """
    TextPanel Scroll { scrollbar-size-vertical: 1; padding: 0 1; }
    TextPanel Static { height: 1; min-height: 100%; text-wrap: nowrap; }
    """

    def __init__(self, index: int, title: str, *, id: str, follow: bool = False) -> None:
        super().__init__(index, title, id=id)
        self.follow = follow  # stay at the end while lines come, unless one scrolled up
        self._composed: Callable[[int], Text] = lambda width: Text()
        self._shown = Text()

    def compose(self) -> ComposeResult:
        yield Scroll(Static(markup=False))

    def on_mount(self) -> None:
        if self.follow:
            self.query_one(Scroll).anchor()

    def on_resize(self) -> None:
        self._write()

    def show(self, composed: Callable[[int], Text]) -> None:
        """Show what this makes for a number of columns: lines that are no longer."""
        self._composed = composed
        self._write()

    def _write(self) -> None:
        if not self.size or not self.display:  # where it comes to be seen it gets a size
            return
        text = self._composed(max(self.size.width - 5, 1))  # frame, padding and scroll bar
        if text != self._shown:
            self._shown, static = text, self.query_one(Static)
            static.styles.height = text.plain.count("\n") + 1  # Textual misses one that changes while it lays out
            static.update(text, layout=False)

    def scroll_by(self, rows: int) -> None:
        """Scroll down by rows, up where they are negative."""
        self.query_one(Scroll).scroll_relative(y=rows, animate=False)


class Tabs(StaticText):
    """The names of the panels, of which one is shown at a time. A click chooses."""

    def __init__(self, *, id: str, classes: str = "") -> None:
        super().__init__(id=id, classes=classes)
        self._ends: list[int] = []

    def point_at(self, current: int, names: Sequence[str], width: int, color: str) -> None:
        """Mark one; the others are shortened where the row is too narrow for all."""
        names = [f"{number} {name}" for number, name in enumerate(names, 1)]
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


class LogFilter(Input):
    """Where one types words that the log's lines are to hold: there while it is typed into, or holds something."""

    DEFAULT_CSS = """
    LogFilter, LogFilter:focus { height: 1; border: none; padding: 0 1; background: $panel; display: none; }
    LogFilter.-there { display: block; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "drop", "Show the whole log", show=False)]

    def __init__(self) -> None:
        super().__init__(id="log-filter", placeholder="words that a line of the log holds")
        self.can_focus = False

    def open(self) -> None:
        """Type into it."""
        self.add_class("-there")
        self.can_focus = True
        self.focus()

    def leave(self) -> None:
        """Back to the screen's keys."""
        self.set_class(bool(self.value), "-there")
        self.can_focus = False
        self.screen.set_focus(None)

    def action_drop(self) -> None:
        """Hold nothing, and leave."""
        self.value = ""
        self.leave()

    def on_input_submitted(self, event: Input.Submitted) -> None:
        event.stop()
        self.leave()
