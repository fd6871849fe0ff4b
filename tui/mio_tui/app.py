"""The app: themes, the first screen, and what works everywhere."""

import contextlib
import gc
import os
import threading
from collections.abc import Callable, Iterable, Sequence
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from textual.app import SystemCommand
from textual.binding import Binding, BindingType
from textual.filter import LineFilter
from textual.notifications import SeverityLevel
from textual.screen import Screen

from mio_local.errors import MioError, RecipeError, RunError, nearest
from mio_local.process import as_typed
from mio_local.runs import directory
from mio_local.runs.directory import Run
from mio_local.runs.index import Index
from mio_local.runs.summary import Row
from mio_tui.actions.acting import Acting
from mio_tui.actions.command_process import CommandProcess
from mio_tui.background_thread import aside
from mio_tui.base import MioScreen
from mio_tui.bound_keys import in_palette
from mio_tui.contrast import Readable
from mio_tui.endings import AT_WORK, LOOK, Endings, bell_wanted, told
from mio_tui.formatting import block
from mio_tui.leaving import Leaving
from mio_tui.screens.run_list import RunsScreen
from mio_tui.theme import DARK, DEFAULTS, LIGHT

if TYPE_CHECKING:
    from mio_local.chat.start import ChatStart  # with the recipe: not before the first screen is drawn


REST = 1.0  # seconds after the first screen
SCREENS = ("mio_tui.screens.live", "mio_tui.new.screen", "mio_tui.screens.compare")


class MioApp(Leaving):
    """The terminal app on one folder of runs. It trains nothing itself: see `mio_local.runs.launch`.

    Returns what is to be printed once the terminal is the shell's again.
    """

    TITLE = "mio-local"
    CSS_PATH = "app.tcss"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("ctrl+q", "leave", "Quit", show=False, priority=True, id="quit"),
        Binding("ctrl+c", "leave", "Quit", show=False, id="interrupt"),
        Binding("ctrl+t", "turn_theme", "Light or dark", show=False, id="theme"),
    ]

    def __init__(
        self, folder: Path, *, open_run: str = "", demo: dict[str, Any] | None = None,
        chat: "ChatStart | None" = None,
    ) -> None:
        """`open_run`: the folder of a run to open; `demo`: begin it, with these arguments of `demo.recipes`; `chat`:
        begin that.

        Raises RecipeError where MIO_LOCAL_THEME names no theme.
        """
        super().__init__()
        self.folder = folder
        self.index = Index(folder)
        self.open_run = open_run
        self.demo = demo
        self.first_chat = chat
        self.poll_seconds = 0.5 if "SSH_CONNECTION" in os.environ else 0.25
        self.readable = Readable()
        self.endings = Endings()
        self.commands: list[CommandProcess] = []
        self.register_theme(DARK)
        self.register_theme(LIGHT)
        self.chosen_theme = os.environ.get("MIO_LOCAL_THEME", "")
        if self.chosen_theme and self.chosen_theme not in self.available_themes:
            known = sorted(self.available_themes)
            raise RecipeError(f"MIO_LOCAL_THEME {self.chosen_theme}: no such theme{nearest(self.chosen_theme, known)}; "
                              f"there are: {', '.join(known)}")
        self.theme = self.chosen_theme or DARK.name

    def get_line_filters(self) -> Sequence[LineFilter]:
        return [*super().get_line_filters(), self.readable]

    def get_theme_variable_defaults(self) -> dict[str, str]:
        return DEFAULTS

    def on_mount(self) -> None:
        if self.console.color_system == "standard" and not self.chosen_theme:
            self.theme = "ansi-dark"
        self.end_clock = self.set_interval(LOOK, self.look_for_ends, pause=True)
        self.push_screen(RunsScreen())
        self.call_after_refresh(self.open_first)

    async def on_unmount(self) -> None:
        for command in self.commands:
            await command.end()

    def open_first(self) -> None:
        """What was asked for."""
        if self.demo is not None:
            self.action_demo()
            return
        if self.first_chat:
            self.chat(self.first_chat)
            return
        if self.open_run:
            self.show_run(Run(Path(self.open_run)))
            return

    def listed(self, rows: list[Row]) -> None:
        """The list was read for the first time: open the run that trains now, where nothing else was asked for; then
        import what the other screens need, before somebody opens one."""
        asked = self.demo is not None or self.first_chat or self.open_run
        living = [row for row in rows if row.live]
        if not asked and len(living) == 1:
            self.show_run(Run(self.folder / living[0].name))
        self.set_timer(REST, threading.Thread(target=self._import_screens, daemon=True).start)

    def _import_screens(self) -> None:
        for name in SCREENS:
            import_module(name)
        if not self.is_headless:
            _rest_garbage_collection()

    def follow(self, runs: Iterable[Run]) -> None:
        """Tell it when these end, with a note and the terminal's bell."""
        self.endings.follow(runs)
        if self.endings:
            self.end_clock.resume()

    async def look_for_ends(self) -> None:
        """Tell of the runs that have ended; go on with those that wait for them."""
        ended = await aside(self.endings.ended)
        for run, status in ended:
            title, words, severity = told(run, status)
            self.notify(words, title=title, severity=severity, timeout=15)
        if ended:
            if bell_wanted():
                self.bell()
            with contextlib.suppress(RunError):
                rows = await aside(self.index.read)
                self.follow(Run(self.folder / row.name) for row in rows if row.state in AT_WORK)
        if not self.endings:
            self.end_clock.pause()

    def show_run(self, run: Run) -> None:
        """Open a run's live screen."""
        from mio_tui.screens.live import LiveScreen

        self.push_screen(LiveScreen(run))

    def compare(self, chosen: Iterable[Run]) -> None:
        """Open the comparison of some runs."""
        from mio_tui.screens.compare import CompareScreen

        self.push_screen(CompareScreen(list(chosen)))

    def chat(self, start: "ChatStart") -> None:
        """Open a chat with some runs' adapters and their base."""
        from mio_tui.screens.chat import ChatScreen

        self.push_screen(ChatScreen(start))

    def start(self, queue: list[Run]) -> bool:
        """Train or resume in the background, one after the other; whether that could be started."""
        from mio_local.runs.launch import launch

        try:
            launch(queue)
        except (MioError, OSError) as error:
            self.complain(error)
            return False
        return True

    def ask(self, run: Run, command: str) -> bool:
        """Send a request to the run's trainer; whether that could be done."""
        from mio_local.runs.control import request

        try:
            request(run.control, command)
        except OSError as error:
            self.complain(f"{run.name} could not be asked to {command}: {error.strerror or error}")
            return False
        return True

    def new_like(self, run: Run, change: Callable[[dict[str, Any]], dict[str, Any]], step: str) -> None:
        """Open the form for a new run, at one of its steps, with another run's settings and a change of them."""
        from mio_local.recipe import read_toml

        try:
            self.new_with(change(read_toml(run.recipe)), step)
        except MioError as error:
            self.complain(error)

    def new_with(self, tables: dict[str, Any], step: str) -> None:
        """Open the form for a new run, at one of its steps, with the tables of a recipe."""
        from mio_tui.new.screen import NewRunScreen

        self.push_screen(NewRunScreen(tables, first=step))

    def make_pairs(self, tables: dict[str, Any]) -> None:
        """Open the form that makes pairs for a recipe of these tables; where some are being made, show that."""
        from mio_tui.screens.make_pairs import open_making

        self.push_screen(open_making(self.folder, self.commands, tables))

    def review_pairs(self, file: Path, tables: dict[str, Any]) -> None:
        """Open the review of a file of pairs, which a recipe of these tables is to be trained on."""
        from mio_tui.screens.review_pairs import ReviewPairsScreen

        self.push_screen(ReviewPairsScreen(file, tables))

    def action_make_pairs(self) -> None:
        """Open the form that makes pairs."""
        self.make_pairs({})

    def action_new_run(self) -> None:
        """Open the form for a new run."""
        from mio_tui.new.screen import NewRunScreen

        self.push_screen(NewRunScreen())

    def action_demo(self) -> None:
        """Train the shipped model with MIO, then with DPO, in the background."""
        from mio_local.shipped import demo_recipes
        from mio_tui.new.begin import begin_named

        try:
            found = list(demo_recipes(**(self.demo or {})))
            names = [directory.free_name(self.folder, f"demo-{recipe.loss.name}") for recipe in found]
            self.show_run(begin_named(found, self.folder, names))
        except (MioError, OSError) as error:
            self.complain(error)

    def notify(
        self, message: str, *, title: str = "", severity: SeverityLevel = "information", timeout: float | None = None,
        markup: bool = False,
    ) -> None:  # fmt: skip
        """As Textual's, but without markup unless asked for, with control characters made visible, and with commands as
        they can be typed."""
        super().notify(as_typed(block(message).plain), title=title, severity=severity, timeout=timeout, markup=markup)

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

    def get_system_commands(self, screen: Screen[object]) -> Iterable[SystemCommand]:
        actions = list(screen.in_palette()) if isinstance(screen, Acting) else []
        yield from actions
        titles = {command.title for command in actions}
        yield from (command for command in in_palette(screen) if command.title not in titles)
        yield SystemCommand("New run", "Pick a model, data and settings", self.action_new_run)
        yield SystemCommand("Make pairs", "Draw answers to prompts, judge them, review them", self.action_make_pairs)
        yield SystemCommand("Demo", "Train the shipped model with MIO, then with DPO", self.action_demo)
        yield SystemCommand("Theme", "Change the colours", self.action_change_theme)
        yield SystemCommand("Screenshot", "Save this screen as an SVG file", self.deliver_screenshot)
        yield SystemCommand("Quit", "Runs that train go on", self.action_leave)


def _rest_garbage_collection() -> None:
    """Never again walk through what was made until now, all of which stays, and look for garbage less often.

    Screens are drawn from many small objects: a full collection came every thirty keys or so, and took up to 400 ms on
    a busy machine.
    """
    gc.freeze()
    gc.set_threshold(20_000, 20, 20)
