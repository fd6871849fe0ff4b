"""The eight panels together: which are shown where, and the keys that move their charts in step."""

from textual.app import ComposeResult
from textual.containers import Container, Horizontal, Vertical

from mio_tui.chart import SMOOTHING
from mio_tui.live.log import log_text
from mio_tui.live.plots import CHARTS, LOG
from mio_tui.live.reading import Reading
from mio_tui.live.sample import sample_text, sample_title
from mio_tui.live.system import system_text
from mio_tui.live.widgets import NAMES, ChartPanel, Panel, PlotChart, TextPanel

SAMPLE, SYSTEM, LOG_PANEL = range(len(CHARTS), len(NAMES))


class Panels(Container):
    """All panels at once where there is room, else the current one."""

    DEFAULT_CSS = """
    Panels {
        height: 1fr;
        #charts { height: 1fr; }
        #likelihood { width: 2fr; }
        #small { width: 1fr; }
        #texts { height: 10; }
        #texts.-alone { height: 1fr; }
    }
    """

    def __init__(self) -> None:
        super().__init__(id="panels")
        self.current = 0
        self.held: int | None = None  # the sample that is looked at, None for whichever is the newest
        self.smoothing = SMOOTHING[2]
        self.boxes: list[Panel] = [
            ChartPanel(index, id=name) if index < len(CHARTS) else TextPanel(index, id=name, follow=name == "log")
            for index, name in enumerate(NAMES)
        ]

    def compose(self) -> ComposeResult:
        with Horizontal(id="charts"):
            yield self.boxes[0]
            with Vertical(id="small"):
                yield from self.boxes[1 : len(CHARTS)]
        with Horizontal(id="texts"):
            yield from self.boxes[len(CHARTS) :]

    def on_mount(self) -> None:
        for chart in self.charts:
            chart.smoothing = self.smoothing

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
            box.set_class(box.index == current, "-current")
            box.display = not alone or box.index == current
        for part, first, end in (("charts", 0, SAMPLE), ("small", 1, SAMPLE), ("texts", SAMPLE, len(NAMES))):
            self.query_one(f"#{part}").display = not alone or first <= current < end
        self.query_one("#texts").set_class(alone, "-alone")
        self.name_charts()

    def shown(self) -> list[int]:
        """The panels that can be seen, the current one first."""
        seen = [box.index for box in self.boxes if box.display]
        return sorted(seen, key=lambda index: index != self.current)

    def draw(self, index: int, reading: Reading, empty: str, colors: dict[str, str], live: bool) -> None:
        """Draw one panel."""
        box = self.boxes[index]
        if isinstance(box, ChartPanel):
            if reading.plots:
                plot = reading.plots[index]
                box.entitle(plot.title, self._below(box))
                box.chart.look(plot, float(reading.total) or None, empty)
        elif isinstance(box, TextPanel):
            self._write(box, reading, colors, live)

    def name_charts(self) -> None:
        """Say at the charts' lower edges how they are drawn."""
        for box in self.boxes:
            if isinstance(box, ChartPanel):
                box.border_subtitle = self._below(box)

    def smooth(self) -> None:
        """The next smoothing, of all charts."""
        self.smoothing = SMOOTHING[(SMOOTHING.index(self.smoothing) + 1) % len(SMOOTHING)]
        for chart in self.charts:
            chart.smoothing = self.smoothing
        self.name_charts()

    def turn_log(self) -> bool:
        """A logarithmic y axis or a linear one, where that makes sense; whether it does."""
        chart = self.chart
        if chart is None or CHARTS[self.current] not in LOG:
            return False
        chart.log_y = not chart.log_y
        self.name_charts()
        return True

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

    def _below(self, box: ChartPanel) -> str:
        smooth = f"smooth {self.smoothing}" if self.smoothing else "not smoothed"
        log = " · log y" if box.chart.log_y else ""
        return f"{smooth}{log} · ←→ crosshair · z zoom" if box.index == self.current else f"{smooth}{log}"

    def _write(self, box: TextPanel, reading: Reading, colors: dict[str, str], live: bool) -> None:
        if box.index == SAMPLE:
            index = len(reading.samples) - 1 if self.held is None else self.held
            box.entitle(sample_title(reading.samples, index), "[ ] older, newer" if len(reading.samples) > 1 else "")
            box.show(sample_text(reading.samples, index, live and reading.sampled, roomy=box.size.height > 12))
        elif box.index == SYSTEM:
            box.show(system_text(reading.machine, box.size.width - 4))
        else:
            box.show(log_text(reading.log, reading.printed, colors))

    def step_sample(self, reading: Reading, by: int) -> None:
        """Choose an older sample (-1) or a newer one (1)."""
        newest = len(reading.samples) - 1
        index = max((newest if self.held is None else self.held) + by, 0)
        self.held = index if index < newest else None
