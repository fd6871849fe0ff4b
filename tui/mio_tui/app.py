"""The app: themes, the first screen, and what works everywhere."""

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any, ClassVar

from textual.app import App, SystemCommand
from textual.binding import Binding, BindingType
from textual.notifications import SeverityLevel
from textual.screen import Screen

from mio_local import runs
from mio_local.errors import MioError
from mio_local.runs import LIVE, Run
from mio_tui.base import MioScreen
from mio_tui.dialogs import Answer, Ask
from mio_tui.screens.runs import RunsScreen
from mio_tui.text import block, line
from mio_tui.theme import DARK, DEFAULTS, LIGHT


class MioApp(App[str]):
    """The terminal app on one folder of runs. It trains nothing itself: see `mio_local.launch`.

    Returns what is to be printed once the terminal is the shell's again.
    """

    TITLE = "mio-local"
    CSS_PATH = "app.tcss"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("ctrl+q", "leave", "Quit", show=False, priority=True, id="quit"),
        Binding("ctrl+c", "leave", "Quit", show=False, id="interrupt"),
        Binding("ctrl+t", "turn_theme", "Light or dark", show=False, id="theme"),
    ]

    def __init__(self, folder: Path, *, open_run: str = "", demo: dict[str, Any] | None = None) -> None:
        """`open_run`: the folder of a run to open; `demo`: begin it, with these arguments of `demo.recipes`."""
        super().__init__()
        self.folder = folder
        self.open_run = open_run
        self.demo = demo
        self.poll_seconds = 0.5 if "SSH_CONNECTION" in os.environ else 0.25
        self.register_theme(DARK)
        self.register_theme(LIGHT)
        self.theme = os.environ.get("MIO_LOCAL_THEME", "mio-dark")

    def get_theme_variable_defaults(self) -> dict[str, str]:
        return DEFAULTS

    def on_mount(self) -> None:
        if self.console.color_system == "standard" and "MIO_LOCAL_THEME" not in os.environ:
            self.theme = "ansi-dark"
        self.push_screen(RunsScreen())
        self.call_after_refresh(self.open_first)

    def open_first(self) -> None:
        """What was asked for, else the run that trains now."""
        if self.demo is not None:
            self.action_demo()
            return
        if self.open_run:
            self.show_run(Run(Path(self.open_run)))
            return
        living = _living(self.folder)
        if len(living) == 1:
            self.show_run(living[0])

    def show_run(self, run: Run) -> None:
        """Open a run's live screen."""
        from mio_tui.screens.live import LiveScreen

        self.push_screen(LiveScreen(run))

    def compare(self, chosen: Iterable[Run]) -> None:
        """Open the comparison of some runs."""
        from mio_tui.screens.compare import CompareScreen

        self.push_screen(CompareScreen(list(chosen)))

    def start(self, queue: list[Run]) -> bool:
        """Train or resume in the background, one after the other; whether that could be started."""
        from mio_local.launch import launch

        try:
            launch(queue)
        except (MioError, OSError) as error:
            self.complain(error)
            return False
        return True

    def new_like(self, run: Run) -> None:
        """Open the form for a new run with another run's settings."""
        from mio_local.recipe import read_toml
        from mio_tui.new.screen import NewRunScreen

        try:
            self.push_screen(NewRunScreen(read_toml(run.recipe)))
        except MioError as error:
            self.complain(error)

    def action_new_run(self) -> None:
        """Open the form for a new run."""
        from mio_tui.new.screen import NewRunScreen

        self.push_screen(NewRunScreen())

    def action_demo(self) -> None:
        """Train the shipped model with MIO, then with DPO, in the background."""
        from mio_local.demo import recipes
        from mio_local.launch import lay_out

        try:
            queue = [
                lay_out(recipe, self.folder, runs.free_name(self.folder, f"demo-{recipe.loss.name}"))
                for recipe in recipes(**(self.demo or {}))
            ]
        except (MioError, OSError) as error:
            self.complain(error)
            return
        if self.start(queue):
            self.show_run(queue[0])

    def notify(
        self, message: str, *, title: str = "", severity: SeverityLevel = "information", timeout: float | None = None,
        markup: bool = False,
    ) -> None:  # fmt: skip
        """As Textual's, but without markup unless asked for, and with control characters made visible."""
        super().notify(block(message).plain, title=title, severity=severity, timeout=timeout, markup=markup)

    def complain(self, error: object) -> None:
        """Show what went wrong, as text."""
        self.notify(str(error), severity="error", timeout=10, markup=False)

    def action_help(self) -> None:
        """Show the keys of where one is."""
        from mio_tui.screens.help import HelpScreen

        under = self.screen
        if isinstance(under, MioScreen):
            self.push_screen(HelpScreen(under, under.TITLE_WORDS, under.HELP_WORDS))

    def action_turn_theme(self) -> None:
        """Light to dark, or dark to light."""
        self.theme = "mio-light" if self.current_theme.dark else "mio-dark"

    def action_leave(self) -> None:
        """Leave; ask first while something trains."""
        if isinstance(self.screen, Ask):
            return
        living = _living(self.folder)
        if not living:
            self.exit("")
            return
        one = living[0].name if len(living) == 1 else f"{len(living)} runs"
        verb = "is" if len(living) == 1 else "are"
        words = f"{one} {verb} still training.\nCome back any time:  mio-local"
        answers = [
            Answer("k", "keep", "Keep training, close this window"),
            Answer("s", "stop", "Stop and save, then quit"),
        ]
        self.push_screen(Ask("Quit?", words, answers), lambda answer: self._left(answer or "", living))

    def _left(self, answer: str, living: list[Run]) -> None:
        if not answer:
            return
        if answer == "stop":
            from mio_local.control import request

            for run in living:
                request(run.control, "stop")
        self.exit("\n".join(_parting(run, answer) for run in living))

    def get_system_commands(self, screen: Screen[object]) -> Iterable[SystemCommand]:
        yield from super().get_system_commands(screen)
        yield SystemCommand("New run", "Pick a model, data and settings", self.action_new_run)
        yield SystemCommand("Demo", "Train the shipped model with MIO, then with DPO", self.action_demo)


def _living(folder: Path) -> list[Run]:
    return [run for run in runs.list_runs(folder) if _state(run) in LIVE]


def _state(run: Run) -> str:
    try:
        return str(run.read_status()["state"])
    except (MioError, OSError, RecursionError):
        return "damaged"


def _parting(run: Run, answer: str) -> str:
    name = line(run.name).plain
    if answer == "stop":
        return f"{name} finishes its step, saves and ends. Go on with it: mio-local resume {name}"
    return f"{name} keeps training. Back: mio-local   As text: mio-local watch {name}   Stop it: mio-local stop {name}"
