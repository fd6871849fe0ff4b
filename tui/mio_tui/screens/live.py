"""Live: one run while it trains and after, and what can be asked of its trainer."""

import asyncio
from typing import ClassVar

from textual.binding import Binding, BindingType

from mio_local.chat.start import ChatStart
from mio_local.errors import MioError, one_line
from mio_local.reports.glossary import explained
from mio_local.runs.directory import LIVE, RESUMABLE, Run
from mio_local.runs.launch import launch
from mio_tui.actions.acting import Acting
from mio_tui.base import MOVING
from mio_tui.dialogs import Answer, Ask
from mio_tui.live.comparison_run import newest_other
from mio_tui.live.force_stop import ANSWERS, SIGNALS, force
from mio_tui.live.view import LiveView
from mio_tui.live.widgets import NAMES

STOP = Answer("s", "stop", "Stop and save")


class LiveScreen(LiveView, Acting):
    """One run. It only reads the run's files, and writes nothing but requests."""

    TITLE_WORDS = "Live"
    HELP_WORDS = (
        "Likelihoods are means over the held-out pairs (with marks), thin lines are the training batches. Chosen is "
        "solid, rejected dashed. The change is measured against the policy before the first step.\n"
        "Requests are answered between two steps. The trainer is a process of its own: leaving this screen, or the "
        "app, does not stop it.\n"
        "A run that draws its own answers, round by round, opens on their rewards: the mean of each round with its "
        "spread (thin), with marks the greedy answers to held-out prompts; v turns to the figures of its pairs.\n\n"
        + "\n".join(map(explained, ("delta", "margin", "accuracy", "js", "dv", "target")))
    )
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("p", "ask('pause')", "Pause"),
        Binding("p", "ask('resume')", "Go on"),
        Binding("x", "stop", "Stop"),
        Binding("r", "resume", "Resume"),
        Binding("full_stop", "actions", "Actions", key_display=".", tooltip="all that can be done with a run"),
        Binding("g", "ask('sample')", "Sample", tooltip="answer the sample prompt now"),
        Binding("w", "ask('checkpoint')", "Write a checkpoint now", show=False),
        Binding("c", "compare", "Compare", tooltip="with the newest other run of this model and data"),
        Binding("t", "chat", "Chat", tooltip="with its adapter and its base"),
        Binding("z,enter", "zoom_panel", "Zoom", tooltip="this panel on the whole screen, or back"),
        Binding("a", "turn('change')", "Δ/abs", tooltip="change from the start, or absolute log-probs"),
        Binding("v", "turn('pairs')", "Pairs/rewards", tooltip="the figures of the pairs, or the rewards"),
        Binding("u", "turn('per_token')", "Per token or per answer", show=False),
        Binding("s", "smooth", "Smooth the training curves", show=False),
        Binding("l", "log", "Log y (loss, information, length, entropy)", show=False),
        Binding("f", "freeze", "Freeze the display", show=False),
        *(
            Binding(f"{index + 1}", f"panel({index})", f"Panel: {name}", show=False, group=MOVING)
            for index, name in enumerate(NAMES)
        ),
        Binding("tab", "next_panel(1)", "Next panel", show=False, group=MOVING),
        Binding("shift+tab", "next_panel(-1)", "Panel before", show=False, group=MOVING),
        Binding("left", "cursor(-1)", "Crosshair left", show=False, group=MOVING),
        Binding("right", "cursor(1)", "Crosshair right", show=False, group=MOVING),
        Binding("shift+left", "pan(-0.25)", "Move left", show=False, group=MOVING),
        Binding("shift+right", "pan(0.25)", "Move right", show=False, group=MOVING),
        Binding("plus,equals_sign", "zoom(2)", "Zoom in", show=False, group=MOVING),
        Binding("minus", "zoom(0.5)", "Zoom out", show=False, group=MOVING),
        Binding("0", "fit", "Show all", show=False, group=MOVING),
        Binding("left_square_bracket", "sample(-1)", "Older sample", show=False),
        Binding("right_square_bracket", "sample(1)", "Newer sample", show=False),
        Binding("up,k", "scroll_panel(-1)", "Scroll up", show=False, group=MOVING),
        Binding("down,j", "scroll_panel(1)", "Scroll down", show=False, group=MOVING),
        Binding("pageup", "scroll_panel(-10)", "Page up", show=False, group=MOVING),
        Binding("pagedown", "scroll_panel(10)", "Page down", show=False, group=MOVING),
        Binding("slash", "filter", "Filter the log", key_display="/", show=False),
        Binding("escape,q", "out", "Back", show=False),
    ]

    @property
    def chosen(self) -> list[Run]:
        return [self.watched.run]

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        if action == "ask":
            paused = self.state == "paused"
            asked = self.state in LIVE and self.state != "stopping"  # then it looks at no request any more
            return asked and parameters[0] != ("pause" if paused else "resume")
        if action == "stop":
            return self.state in LIVE
        if action == "resume":
            return self.state in RESUMABLE and self.watched.run.path.exists()
        if action == "turn" and self.drawn.rewards:
            return parameters[0] != "change"  # of likelihoods, which are not shown
        if action == "turn":
            return parameters[0] != "pairs" or self.drawn.rounds
        return True

    def action_ask(self, command: str) -> None:
        """Ask the trainer for something; pausing while a pause is waited for takes it back."""
        if command == "pause" and self.requests.last == "pause":
            command = "resume"
        self.requests.send(self.watched.run, command)
        self.tell()

    def action_stop(self) -> None:
        """Ask whether to stop; where the trainer does not answer, offer to force it."""
        stuck = bool(self.requests.overdue) or self.state == "stopping"
        asked = "stop" in (asked.command for asked in self.requests.waiting) or self.state == "stopping"
        answers = [*(() if asked else (STOP,)), *(ANSWERS if stuck else ())]
        if not answers:
            self.requests.say("it was asked to stop; x offers to force it where it does not answer")
            self.tell()
            return
        words = "It finishes its step, saves a checkpoint and the adapter, and ends.\nIt can go on later: r"
        if stuck:
            words += "\nIt may be in a long step or evaluation. A trainer that is forced may lose its newest steps."
        self.app.push_screen(Ask(f"Stop {self.watched.run.name}?", words, answers), self._stop)

    def _stop(self, answer: str | None) -> None:
        if answer == "stop":
            self.requests.send(self.watched.run, "stop")
        elif answer in SIGNALS:
            try:
                self.requests.say(force(self.watched.run, answer))
            except (MioError, OSError) as error:
                self.requests.say(f"its process could not be ended: {one_line(error)}", True)
        self.tell()

    def action_resume(self) -> None:
        """Start a trainer that goes on from the last checkpoint."""
        if self.launching:
            return
        if self.state != "queued":
            self._resume("start")
            return
        words = "It waits for another run. Both would train at once and share this machine."
        self.app.push_screen(Ask("Start it now?", words, [Answer("s", "start", "Start it now")]), self._resume)

    def _resume(self, answer: str | None) -> None:
        if answer:
            self.launching = True
            self.run_worker(self._launch(), group="launch", exit_on_error=False)
            self.redraw()

    async def _launch(self) -> None:
        try:
            await asyncio.to_thread(launch, [self.watched.run])
        except (MioError, OSError) as error:
            self.requests.say(f"it was not resumed: {one_line(error)}", True)
        finally:
            self.launching = False
            self.watched.refresh_status()
            self.refresh_bindings()
            self.redraw()

    def action_chat(self) -> None:
        """Talk with what was trained so far."""
        self.mio.chat(ChatStart([str(self.watched.run.path)]))

    def action_compare(self) -> None:
        """Compare with the newest other run of this model and data."""
        self.run_worker(self._compare(), group="compare", exclusive=True, exit_on_error=False)

    async def _compare(self) -> None:
        other = await asyncio.to_thread(newest_other, self.watched.run)
        if other is not None:
            self.mio.compare([self.watched.run, other])
            return
        self.requests.say("there is no other run of this model and data yet")
        self.tell()
