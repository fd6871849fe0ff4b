"""What the live screen shows, kept up to date, and the keys that change how it is looked at."""

import asyncio
import time
from dataclasses import replace
from typing import Any

from rich.text import Text
from textual import events
from textual.app import ComposeResult
from textual.widgets import Input
from textual.worker import Worker, WorkerState

from mio_local.errors import one_line
from mio_local.runs.directory import LIVE, Run
from mio_local.services.host import read_host
from mio_tui import formatting
from mio_tui.background_thread import aside
from mio_tui.endings import AT_WORK
from mio_tui.formatting import STATES, paint
from mio_tui.live import header
from mio_tui.live.chart_keys import ChartKeys
from mio_tui.live.notice import notice_text, notices
from mio_tui.live.panel import Ground, Picked
from mio_tui.live.panels import LOG_PANEL, SAMPLE, SYSTEM, Panels, display
from mio_tui.live.pending_requests import Requests
from mio_tui.live.plots import Look, plots
from mio_tui.live.reading import Reading, read
from mio_tui.live.widgets import NAMES, LogFilter, Tabs, names_of
from mio_tui.static_text import StaticText
from mio_tui.watched import Watched

LAUNCHING = {"state": "starting", "doing": "starting the trainer", "done": 0, "total": 0}
REST, LONGEST_REST = 8, 2.0  # times as long as the last drawing took, and seconds: the machine may have been busy
ROOM, HOST = 22, 3.0  # rows from which on there is one for the verdict; seconds between two looks at the machine's load
COLORS = ("chosen", "rejected", "warning", "error", "success", "primary")
BUSY = ("starting", "training", "stopping")  # the states in which a trainer works


class LiveView(ChartKeys):
    """One run as its files tell it, read at every poll."""

    AUTO_FOCUS = ""
    DEFAULT_CSS = """
    LiveView #live { height: 1fr; layout: vertical; }
    LiveView .line { height: 1; }
    LiveView #state { background: $panel; }
    LiveView #notice { height: auto; max-height: 8; padding: 0 1; }
    """

    def __init__(self, run: Run) -> None:
        super().__init__()
        self.watched = Watched(run)
        self.watched.refresh_status()
        status = self.watched.status
        self.reading = Reading(
            plots=plots(None, Look()),
            step=formatting.count(status.get("step")),
            total=formatting.count(status.get("total_steps")),
        )
        self.drawn = self.reading  # what the panels show: an older one while the display is frozen
        self.requests = Requests()
        self.panels = Panels()
        self.view = Look()
        self.zoomed = self.frozen = self.launching = self.was_read = False
        self._stale = self._at_once = True  # what is drawn is not what would be; and somebody waits for it
        self._drawn: dict[int, Reading] = {}  # what each panel shows
        self._catching_up = False  # the file goes on beyond what was read
        self._rested = 0.0  # until then nothing is drawn unasked (monotonic)
        self._phase, self._since = "", 0.0

    def body(self) -> ComposeResult:
        with Ground(id="live"):
            for name in ("state", "progress", "figures", "verdict"):
                yield StaticText(id=name, classes="line")
            yield StaticText(id="notice")
            yield Tabs(id="tabs", classes="line")
            yield self.panels
            yield LogFilter()

    @property
    def status(self) -> dict[str, Any]:
        """status.json, or what will be in it once the trainer that was just started writes it."""
        return {**self.watched.status, **LAUNCHING} if self.launching else self.watched.status

    @property
    def state(self) -> str:
        return str(self.status.get("state", ""))

    @property
    def palette(self) -> dict[str, str]:
        return {name: paint(self.app, name) for name in COLORS} | {"c": paint(self.app, "success")}

    def on_mount(self) -> None:
        self.every(self.mio.poll_seconds, self.poll)
        self.every(HOST, self.look_at_host)
        self.app.theme_changed_signal.subscribe(self, lambda _: self.redraw())
        self.lay_out()
        self.tell()
        self.work()

    def on_screen_resume(self) -> None:
        self.poll()
        self.redraw()

    def on_resize(self, event: events.Resize) -> None:
        self.lay_out()
        self.tell()
        self.draw_now()

    def short(self) -> str:
        return header.short(self.status, self.reading)

    def poll(self) -> None:
        """Look at the status, and read what is new."""
        if not self.on_top:
            return
        before = self.state
        changed = self.watched.refresh_status()
        if self.state in AT_WORK:
            self.mio.follow([self.watched.run])
        if changed and (before == "starting" or before != self.state):
            self._stale = True
            self.refresh_bindings()
        self.tell()
        if changed or self._stale or self.requests.waiting or (self.state in LIVE and self.watched.moved()):
            self.work()

    def look_at_host(self) -> None:
        """How busy the machine is, while the run is; beside one that rests nothing is looked at, or written."""
        if self.state in BUSY or self.panels.host:
            self.run_worker(self._look_at_host(), group="host", exit_on_error=False)

    async def _look_at_host(self) -> None:
        seen = (await aside(read_host)).line() if self.state in BUSY else ""
        if seen != self.panels.host:
            self.panels.host = seen
            if SYSTEM in self.panels.shown():
                self.draw(SYSTEM)

    def redraw(self) -> None:
        """Draw anew, as soon as what is being read now is."""
        self._stale = self._at_once = True
        self.tell()
        self.work()

    async def turn(self) -> None:
        if await self.watched.load(part=True):  # whoever wants a redraw meanwhile says so too
            self._stale = True
        if self.watched.behind:  # the first part is drawn at once, then all of it
            self.again = self._catching_up = True
        elif self._catching_up:
            self._catching_up, self._at_once = False, True
        if self._stale and self.on_top and (self._at_once or time.monotonic() > self._rested):
            self._stale = self._at_once = False
            began = time.monotonic()
            await self._read()
            self._rested = time.monotonic() + min(REST * (time.monotonic() - began), LONGEST_REST)

    async def _read(self) -> None:
        self.reading = await asyncio.to_thread(read, self.watched, self.status, self.view, self.panels.words)
        self.was_read = True
        self.tell()
        if not self.frozen:
            self.drawn = self.reading
            if self.panels.turn_page(self.drawn):
                self.lay_out()
                self.refresh_bindings()
            for index in self.panels.shown():
                self.draw(index)
                await asyncio.sleep(0)  # keys come first

    def tell(self) -> None:
        """The lines at the top, from the status as it is now and the files as they were last read."""
        status, now, width = self.status, formatting.now(), self.size.width
        phase = f"{self.state} {status.get('doing', '')}"
        if phase != self._phase:
            begun = status.get("time")
            self._phase, self._since = phase, begun if isinstance(begun, float) and not self.launching else now
        reading = self.reading if self.size.height >= ROOM else replace(self.reading, verdict=None)
        self.requests.settle(reading.answers, status)
        colors, history = self.palette, self.watched.history
        state_color = paint(self.app, STATES.get(self.state, ("", ""))[1])
        lines = {
            "state": header.state_line(self.watched.run, status, reading, history, state_color, width),
            "progress": header.progress_line(status, reading, now, self._since, colors["primary"], width),
            "figures": header.figures_line(reading, self.view, colors, width),
            "verdict": header.verdict_line(reading.verdict, colors, width),
        }
        for name, shown in lines.items():
            self._line(name, shown)
        found = notices(
            self.watched.run, status, reading, history, self.requests, self.watched.trouble, self.frozen
        )
        self._line("notice", notice_text(found, colors))
        self.tell_small()

    def _line(self, name: str, text: Text) -> None:
        """One of the lines at the top; an empty one takes no room."""
        line = self.query_one(f"#{name}", StaticText)
        line.show(text, layout=name == "notice")
        display(line, bool(text.plain))

    def lay_out(self) -> None:
        """All panels, or only the current one; zoomed, it has the room of the lines at the top too."""
        ground = self.query_one("#live", Ground)
        ground.show_only(*([self.panels, self.query_one(LogFilter)] if self.zoomed else []))
        self.panels.lay_out(self.panels.current, self.zoomed or not self.wide)
        tabs = self.query_one(Tabs)
        display(tabs, not self.wide)
        tabs.point_at(self.panels.current, names_of(self.drawn.rewards), self.size.width, self.palette["primary"])

    def draw(self, index: int) -> None:
        """One panel."""
        self._drawn[index] = self.drawn
        self.panels.draw(index, self.drawn, self.empty, self.palette, self.state in LIVE)

    def draw_now(self) -> None:
        """The panels that can be seen and show something older."""
        for index in self.panels.shown():
            if self._drawn.get(index) is not self.drawn:
                self.draw(index)

    @property
    def empty(self) -> str:
        """What a chart without points says."""
        if not self.was_read:
            return "reading the events…"
        if self.watched.trouble:
            return "its curves cannot be drawn"
        return "first point after step 1" if self.state in (*LIVE, "queued") else "it ended before the first step"

    def on_worker_state_changed(self, event: Worker.StateChanged) -> None:
        if event.state is WorkerState.ERROR:
            error = event.worker.error
            self.requests.say(f"{type(error).__name__}: {one_line(error) if error else ''}", True)
            self.tell()

    def on_picked(self, event: Picked) -> None:
        self.action_panel(event.index)

    def action_panel(self, index: int) -> None:
        """Make a panel the current one."""
        self.panels.current = index % len(NAMES)
        self.lay_out()
        self.draw_now()

    def action_next_panel(self, by: int) -> None:
        """The panel after the current one, or before it."""
        self.action_panel(self.panels.current + by)

    def action_zoom_panel(self) -> None:
        """The current panel on the whole screen, or back."""
        self.zoomed = not self.zoomed
        self.lay_out()
        self.draw_now()

    def action_filter(self) -> None:
        """Type words that the log's lines are to hold."""
        self.action_panel(LOG_PANEL)
        self.query_one(LogFilter).open()

    def on_input_changed(self, event: Input.Changed) -> None:
        self.panels.words = event.value.strip()
        self.redraw()

    def action_out(self) -> None:
        """Out one layer: the log's filter, the zoom, the crosshair, this screen."""
        if self.panels.words:
            self.query_one(LogFilter).action_drop()
        elif self.zoomed:
            self.action_zoom_panel()
        elif not self.panels.drop_cursor():
            self.dismiss()

    def action_smooth(self) -> None:
        """More smoothing of the training curves, or none."""
        self.panels.smooth()
        self._drawn.clear()
        self.draw_now()

    def action_log(self) -> None:
        """Powers of ten on the y axis."""
        if words := self.panels.turn_log():
            self.notify(words, timeout=4, markup=False)
            return
        self.draw(self.panels.current)

    def action_freeze(self) -> None:
        """Hold the picture still while the run goes on."""
        self.frozen = not self.frozen
        self.redraw()

    def action_sample(self, by: int) -> None:
        """An older sample or a newer one."""
        self.panels.step_sample(self.drawn, by)
        self.action_panel(SAMPLE)
        self.draw(SAMPLE)
