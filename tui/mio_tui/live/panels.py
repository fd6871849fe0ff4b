"""The eight panels together: which are shown where, and the keys that move their charts in step."""

from rich.text import Text
from textual.app import ComposeResult
from textual.widget import Widget

from mio_tui.chart import SMOOTHING
from mio_tui.chart.axes import horizon
from mio_tui.formatting import line
from mio_tui.live.log import log_text
from mio_tui.live.panel import Ground, Panel
from mio_tui.live.plots import CHARTS, Plot
from mio_tui.live.reading import Reading
from mio_tui.live.rewards.answer_group import group_prompt, group_text, group_title
from mio_tui.live.sample import prompt_line, sample_text, sample_title
from mio_tui.live.system import system_text
from mio_tui.live.widgets import NAMES, ChartPanel, PlotChart, TextPanel

SAMPLE, SYSTEM, LOG_PANEL = range(len(CHARTS), len(NAMES))


class Panels(Ground):
    """All panels at once where there is room, else the current one."""

    DEFAULT_CSS = """
    Panels {
        height: 1fr; layout: grid; grid-size: 2; grid-columns: 2fr 1fr; grid-rows: 1fr 1fr 1fr 1fr 15% 15%;
        #likelihood { row-span: 4; }
        #answer { row-span: 2; }
    }
    """

    def __init__(self) -> None:
        super().__init__(id="panels")
        self.current = 0
        self.held: int | None = None  # the sample that is looked at, None for whichever is the newest
        self.rewards = False  # whether those of a run of rounds are shown
        self._page = (False, False)  # whether there are such, and are shown
        self._smoothing = {False: SMOOTHING[2], True: SMOOTHING[0]}  # a round is the mean of many answers already
        self.host = ""  # how busy the machine is, in one line
        self.words = ""  # that the lines of the log hold
        self.boxes: list[Panel] = [
            ChartPanel(index, name, id=name)
            if index < len(CHARTS)
            else TextPanel(index, name, id=name, follow=name == "log")
            for index, name in enumerate(NAMES)
        ]

    def compose(self) -> ComposeResult:
        yield from self.boxes

    def on_mount(self) -> None:
        for chart in self.charts:
            chart.smoothing = self.smoothing

    @property
    def smoothing(self) -> int:
        """Of the curves that are shown now, in points."""
        return self._smoothing[self.rewards]

    @property
    def charts(self) -> list[PlotChart]:
        return [box.chart for box in self.boxes if isinstance(box, ChartPanel)]

    @property
    def chart(self) -> PlotChart | None:
        """The current panel's chart, if it has one."""
        box = self.boxes[self.current]
        return box.chart if isinstance(box, ChartPanel) else None

    def lay_out(self, current: int, alone: bool) -> None:
        """Make one panel the current one, alone where it is to have all the room."""
        self.current = current
        for box in self.boxes:
            box.mark(box.index == current)
        self.show_only(*([self.boxes[current]] if alone else []))
        self.name_charts()

    def shown(self) -> list[int]:
        """The panels that can be seen, the current one first."""
        seen = [box.index for box in self.boxes if self.shows(box)]
        return sorted(seen, key=lambda index: index != self.current)

    def draw(self, index: int, reading: Reading, empty: str, colors: dict[str, str], live: bool) -> None:
        """Draw one panel."""
        box = self.boxes[index]
        if isinstance(box, ChartPanel):
            if reading.plots:
                plot = reading.plots[index]
                box.entitle(chart_title(plot, colors, self.smoothing), self._below(box))
                end = horizon(reading.step, reading.total) if live else float(reading.step)
                box.chart.look(plot, end, empty)
        elif isinstance(box, TextPanel):
            self._write(box, reading, colors, live)

    def name_charts(self) -> None:
        """Say at the charts' lower edges how they are drawn."""
        for box in self.boxes:
            if isinstance(box, ChartPanel):
                box.say_below(self._below(box))

    def smooth(self) -> None:
        """The next smoothing, of all charts."""
        self._smoothing[self.rewards] = SMOOTHING[(SMOOTHING.index(self.smoothing) + 1) % len(SMOOTHING)]
        self._smooth_charts()

    def turn_page(self, reading: Reading) -> bool:
        """Show rewards from now on, or the figures of pairs, as a reading has them; whether it has others."""
        before, self._page = self._page, (reading.rounds, reading.rewards)
        if before != self._page:
            self.rewards, self.held = reading.rewards, None
            self._smooth_charts()
        return before != self._page

    def _smooth_charts(self) -> None:
        for chart in self.charts:
            chart.smoothing = self.smoothing
        self.name_charts()

    def turn_log(self) -> str:
        """A logarithmic y axis or a linear one, where that makes sense; else where it does."""
        chart = self.chart
        if chart is None or not chart.can_log:
            what = "length and entropy: press 3 or 5" if self.rewards else "loss and information: press 4 or 5"
            return f"log y makes sense for {what} first"
        chart.log_y = not chart.log_y
        self.name_charts()
        return ""

    def move_cursor(self, columns: int) -> None:
        """Move the crosshair of all charts by columns of the current one."""
        if chart := self.chart:
            chart.move_cursor(columns)
            for other in self.charts:
                if other is not chart:
                    other.set_cursor(chart.cursor)

    def drop_cursor(self) -> bool:
        """Take the crosshair away; whether there was one."""
        held = [chart for chart in self.charts if chart.cursor is not None]
        for chart in held:
            chart.set_cursor(None)
        return bool(held)

    def zoom(self, factor: float) -> None:
        """Show less of x, or more, in all charts."""
        for chart in self.charts:
            chart.zoom(factor)

    def pan(self, share: float) -> None:
        """Move along x by a share of what is seen, in all charts."""
        for chart in self.charts:
            chart.pan(share)

    def fit(self) -> None:
        """Show all of x in all charts."""
        for chart in self.charts:
            chart.fit()

    def scroll(self, rows: int) -> None:
        """Scroll the current panel, where it has text."""
        box = self.boxes[self.current]
        if isinstance(box, TextPanel):
            box.scroll_by(rows)

    def _below(self, box: ChartPanel) -> Text:
        log = "log y · " if box.chart.log_y else ""
        if box.index != self.current:
            return Text(log.removesuffix(" · "))
        smooth = f"smooth {self.smoothing}" if self.smoothing else "not smoothed"
        return Text(f"{log}{smooth} · ←→ crosshair · z zoom")

    def _write(self, box: TextPanel, reading: Reading, colors: dict[str, str], live: bool) -> None:
        if box.index == SAMPLE:
            samples = reading.groups if reading.rewards else reading.samples
            index = len(samples) - 1 if self.held is None else self.held
            below = Text("[ ] older, newer · ") if len(samples) > 1 else Text()
            if reading.rewards:
                box.entitle(group_title(samples, index), below.append(group_prompt(samples, index)))
                box.show(lambda width: group_text(samples, index, live, width))
            else:
                box.entitle(sample_title(samples, index), below.append(prompt_line(samples, index)))
                box.show(lambda width: sample_text(samples, index, live and reading.sampled, width))
        elif box.index == SYSTEM:
            box.entitle(line(self.host or "system"))
            box.show(lambda width: system_text(reading.machine, width))
        else:
            box.entitle(Text("log with ").append(line(self.words)) if self.words else Text("log"))
            box.show(lambda width: log_text(reading.log, reading.printed, colors, self.words, width))

    def step_sample(self, reading: Reading, by: int) -> None:
        """Choose an older sample (-1) or a newer one (1)."""
        newest = len(reading.groups if reading.rewards else reading.samples) - 1
        index = max((newest if self.held is None else self.held) + by, 0)
        self.held = index if index < newest else None


def display(widget: Widget, seen: bool) -> None:
    """Show a widget or not."""
    if widget.display != seen:  # each setting lays everything out anew
        widget.display = seen


def chart_title(plot: Plot, colors: dict[str, str], smoothing: int = 0) -> Text:
    """What the chart is of, in which unit, the newest values, and the guides', whose labels may find no room; lines of
    one colour are told by their pattern."""
    title = Text(f"{plot.title}, {plot.unit}" if plot.unit else plot.title)
    told = plot.told(smoothing)
    for curve, value in told:
        name = f"{curve.name} " if len(told) > 1 else ""
        sign = "" if curve.color in colors or not name else "╌" if curve.dash else "─"
        title.append(" ").append(f"{sign}{name}{value}", style=colors.get(curve.color, "bold"))
    for guide in plot.guides if told else ():
        if guide.value:
            title.append(f" {guide.name} {guide.value}", style="dim")
    return title
