"""Compare: up to four runs side by side, their curves and their figures."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.widgets import Static
from textual.worker import Worker, WorkerState

from mio_local.errors import RunError
from mio_local.runs.directory import LIVE, Run
from mio_local.runs.history import History
from mio_tui.base import MOVING
from mio_tui.chart import SMOOTHING
from mio_tui.chart.axes import Range
from mio_tui.compare import save
from mio_tui.compare.comparison import SIDES, Comparison
from mio_tui.compare.curves import AXES, OF_REWARDS, View, after, metrics
from mio_tui.compare.members import MOST, Members
from mio_tui.compare.pick import PickRun, choices
from mio_tui.compare.picture import picture
from mio_tui.compare.table import CompareTable
from mio_tui.formatting import line
from mio_tui.refresh_screen import RefreshScreen


class CompareScreen(RefreshScreen[None]):
    """The comparison of some runs, `MOST` at most. They may still train: it follows them."""

    DEFAULT_CSS = "CompareScreen #head { text-wrap: nowrap; text-overflow: ellipsis; }"
    TITLE_WORDS = "Compare"
    HELP_WORDS = (
        "Every run has a letter, a colour and a line: solid for A and C, dashed for B and D. Held-out curves have "
        "marks; thin lines are the training batches.\n"
        "Δ is the change against the start. Margin is the change of chosen less that of rejected. The difference is "
        "the first shown run less the second, at the last step that both were evaluated at.\n"
        "Of runs that draw their own answers, m shows rewards, pass rates, lengths, KL and entropy too; reward and "
        "pass in the table are of greedy answers to held-out prompts, KL is of the newest round."
    )
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("space", "toggle_run", "Show or hide", key_display="space", id="compare-toggle"),
        Binding("m", "metric", "Metric", tooltip="likelihood, margin and accuracy, loss and information; rewards"),
        Binding("a", "absolute", "Δ/abs", tooltip="change from the start, or absolute log-probs"),
        Binding("b", "axis", "x axis", tooltip="steps, tokens or time"),
        Binding("e", "export", "Export", tooltip="CSV, PNG or both"),
        Binding("escape,q", "out", "Back"),
        Binding("u", "unit", "Per token or per answer", show=False),
        Binding("s", "smooth", "Smooth the training curves", show=False),
        Binding("l", "log", "Log y (loss, information, length, entropy)", show=False),
        Binding("z", "zoom_panel", "Zoom the left panel, the right one, neither", show=False),
        Binding("i", "add_run", "Add a run", show=False),
        Binding("up,k", "cursor(-1)", "Run above", show=False, group=MOVING),
        Binding("down,j", "cursor(1)", "Run below", show=False, group=MOVING),
        Binding("left,h", "crosshair(-1)", "Crosshair left", show=False, group=MOVING),
        Binding("right", "crosshair(1)", "Crosshair right", show=False, group=MOVING),
        Binding("shift+left", "pan(-0.25)", "Move left", show=False, group=MOVING),
        Binding("shift+right", "pan(0.25)", "Move right", show=False, group=MOVING),
        Binding("plus,equals_sign", "zoom(2)", "Zoom in", show=False, group=MOVING),
        Binding("minus", "zoom(0.5)", "Zoom out", show=False, group=MOVING),
        Binding("0", "fit", "Show all", show=False, group=MOVING),
    ]

    def __init__(self, runs: list[Run]) -> None:
        super().__init__()
        self.members = Members(runs)
        self.view = View()
        self.training_asked = False  # smoothing was asked for, so what it smooths is shown at any size
        self.log_y = False
        self.held: Range | None = None  # y of both likelihood charts
        self.cursor = 0
        self.exporting = False
        self._stale = True  # what would be drawn is not what is

    def body(self) -> ComposeResult:
        yield Static(id="head", classes="head", markup=False)
        yield Comparison()

    @property
    def parts(self) -> Comparison:
        return self.query_one(Comparison)

    def on_mount(self) -> None:
        self.app.theme_changed_signal.subscribe(self, lambda _: self.redraw())
        self.query_one("#head", Static).update(line("Compare  reading…"))
        self.every(self.mio.poll_seconds, self.poll)
        if self.members.left_out:
            self.parts.say(f"the first {MOST} of {MOST + self.members.left_out} runs: more could not be told apart")
        self.redraw()
        if len(self.members) < 2:
            self.call_after_refresh(self.action_add_run)

    def on_screen_resume(self) -> None:
        self.redraw()

    def resized(self) -> None:
        self.redraw()

    def short(self) -> str:
        return f"{len(self.members)} runs at step {self.parts.seen.at.step}"

    def poll(self) -> None:
        """Look whether a run moved, and read what is new."""
        if not self.on_top:
            return
        changed = [member.watched.refresh_status() for member in self.members]
        if any(changed):
            self.redraw()
        elif any(member.watched.state in LIVE for member in self.members):
            self.work()

    def redraw(self) -> None:
        """Draw anew, once what is being read or drawn is."""
        self._stale = True
        self.draw_table()
        self.work()

    async def turn(self) -> None:
        for member in list(self.members):
            if member.watched.refresh_status() | await member.watched.load():  # a key may ask for a redraw meanwhile
                self._stale = True
        if self._stale and self.on_top:
            self._stale = False
            await self._draw()

    async def _draw(self) -> None:
        members = [replace(member) for member in self.members]
        view = replace(self.view, training=self._room, names=self.wide)
        seen = await asyncio.to_thread(picture, view, members, self.held, self.wide)
        self.held = seen.panels[0].y_fixed if view.metric == "likelihood" else None
        self.query_one("#head", Static).update(seen.head)
        self.parts.draw(seen, members, self.log_y)
        self.draw_table()
        self.tell_small()

    @property
    def _room(self) -> bool:
        """Whether the training batches' curves are drawn behind the held-out ones."""
        return self.wide or bool(self.parts.only) or self.training_asked

    def draw_table(self) -> None:
        """Draw the table from what is known."""
        self.parts.draw_table(self.members, self.cursor)

    def on_worker_state_changed(self, event: Worker.StateChanged) -> None:
        if event.state is WorkerState.ERROR:
            self.exporting = False
            self.parts.say(f"✗ {type(event.worker.error).__name__}: {event.worker.error}", "error")

    def change(self, **choice: object) -> None:
        """Look at it in another way."""
        self.view = replace(self.view, **choice)  # pyright: ignore[reportArgumentType] - each caller names a field
        self.held = None
        self.parts.say("")
        self.redraw()

    def action_metric(self) -> None:
        """The next pair of panels."""
        found = metrics(self.members)
        self.change(metric=after(found, self.view.metric) if self.view.metric in found else found[0])

    def action_absolute(self) -> None:
        """Change from the start, or absolute."""
        self.change(change=not self.view.change)

    def action_unit(self) -> None:
        """Per token, or per answer."""
        self.change(per_token=not self.view.per_token)

    def action_axis(self) -> None:
        """The next kind of x."""
        self.change(axis=after(AXES, self.view.axis))

    def action_smooth(self) -> None:
        """More smoothing of the training curves, or none; where they are hidden, show them first."""
        which = "rewards_smoothing" if self.view.metric in OF_REWARDS else "smoothing"
        smoothing = after(SMOOTHING, self.view.smooth) if self._room else self.view.smooth
        self.training_asked = True
        self.change(**{which: smoothing})

    def action_log(self) -> None:
        """A log y axis, where all is positive."""
        if not any(panel.log for panel in self.parts.seen.panels):
            self.parts.say("log y is for loss and information: m shows them")
            return
        self.log_y = not self.log_y
        self.change()

    def action_toggle_run(self) -> None:
        """Show or hide the run under the cursor."""
        if self.members:
            member = self.members[self.cursor]
            member.shown = not member.shown
            self.change()

    def action_cursor(self, rows: int) -> None:
        """Move over the runs."""
        self.cursor = min(max(self.cursor + rows, 0), max(len(self.members) - 1, 0))
        self.draw_table()

    def on_compare_table_clicked(self, event: CompareTable.Clicked) -> None:
        if 0 <= event.row < len(self.members):
            self.cursor = event.row
            self.draw_table()

    def action_zoom_panel(self) -> None:
        """One panel alone, the other, both."""
        self.parts.zoom_panel(after(("", *SIDES), self.parts.only))
        self.redraw()

    def action_crosshair(self, columns: int) -> None:
        """Move the crosshair."""
        self.parts.crosshair(columns)

    def action_pan(self, share: float) -> None:
        """Move along x."""
        for chart in self.parts.charts:
            chart.pan(share)

    def action_zoom(self, factor: float) -> None:
        """Narrow or widen x."""
        for chart in self.parts.charts:
            chart.zoom(factor)

    def action_fit(self) -> None:
        """All of x, and just the y that is taken."""
        self.held = None
        for chart in self.parts.charts:
            chart.fit()
        self.redraw()

    def action_out(self) -> None:
        """Out one layer: the crosshair, the zoomed panel, the screen."""
        if self.parts.hide_crosshair():
            return
        if self.parts.only:
            self.parts.zoom_panel("")
            self.redraw()
            return
        self.dismiss()

    async def action_add_run(self) -> None:
        """Choose one more run of the folder."""
        if len(self.members) == MOST:
            self.parts.say(f"{MOST} runs are compared already; esc goes back to choose others")
            return
        try:
            found = await asyncio.to_thread(choices, self.mio.folder, self.members.paths)
        except RunError as error:
            self.parts.say(f"✗ {error}", "error")
            return
        if self.on_top:
            self.app.push_screen(PickRun(found), self._picked)

    def _picked(self, run: Run | None) -> None:
        if run is not None:
            self.members.join(run)
            self.change()

    def action_export(self) -> None:
        """Ask for the kind of file, then write the runs that are shown."""
        if self.exporting:
            return
        if not any(member.drawn for member in self.members):
            self.parts.say("nothing to export: no run is shown", "warning")
            return
        histories = [member.watched.past for member in self.members if member.drawn]
        out = save.target(self.mio.folder, histories)

        def chosen(answer: str | None) -> None:
            if answer:
                self.exporting = True
                self.parts.say(f"writing {' and '.join(kind.upper() for kind in save.KINDS[answer])}…", "accent")
                work = self._export(histories, save.KINDS[answer], out)
                self.run_worker(work, group="export", exit_on_error=False)

        self.app.push_screen(save.question(out), chosen)

    async def _export(self, histories: Sequence[History], kinds: Sequence[str], out: Path) -> None:
        try:
            written = await save.export(histories, kinds, out)
        except RunError as error:
            self.parts.say(f"✗ {error}", "error")
        else:
            self.parts.say(f"✓ wrote {' and '.join(file.name for file in written)} in {out.parent}", "success")
        self.exporting = False
