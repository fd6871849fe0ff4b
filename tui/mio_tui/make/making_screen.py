"""Pairs being made: how far it is; then the report, and what to do with the pairs."""

from typing import Any, ClassVar

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll

from mio_local.errors import one_line
from mio_tui.actions.command_process import MOST_LINES
from mio_tui.actions.command_screen import CommandScreen, head
from mio_tui.actions.perform import WORK, follow
from mio_tui.background_thread import aside
from mio_tui.base import MioScreen
from mio_tui.formatting import block, duration, line
from mio_tui.make.making_process import MakingProcess
from mio_tui.static_text import StaticText

OF_PAIRS = ("review", "train", "examples")
LARGEST = 200_000  # characters of a report that are shown


class MakingScreen(CommandScreen):
    """One making. Leaving the screen does not end it."""

    TITLE_WORDS = "Make pairs"
    HELP_WORDS = (
        "It goes on when you leave, and its end is told; m in the list of runs leads back. Leaving the app ends it.\n"
        "Stopped, it keeps the answers that were drawn: g, or the same settings once more, goes on from there.\n"
        "pass@1 is the share of answers that are right; pass@K of prompts with a right one among K."
    )
    DEFAULT_CSS = "MakingScreen #speed { height: 1; padding: 0 1; }"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("x,ctrl+c", "stop", "Stop, keep what is there", key_display="x"),
        Binding("r", "review", "Review"),
        Binding("enter,n", "train", "Train", key_display="⏎"),
        Binding("e", "examples", "Examples", tooltip="the report's, or back"),
        Binding("g", "go_on", "Go on"),
    ]

    def __init__(self, command: MakingProcess) -> None:
        super().__init__(command)
        self.making = command
        self.examples = ""  # the report that is shown in place of what was printed

    def body(self) -> ComposeResult:
        yield StaticText(id="head", classes="head")
        yield StaticText(id="speed")
        with VerticalScroll(id="printed"):
            yield StaticText(id="lines")

    def tell_head(self) -> None:
        super().tell_head()
        making = self.making
        words = [making.doing] if making.total > 0 else []
        words += [f"about {duration(making.left)} left"] * bool(making.left)
        self.query_one("#speed", StaticText).show(line(", ".join([] if making.over else words)))

    def head(self) -> Text:
        """As of other commands; what is told while it has a count stands below, as it is long."""
        return head(self.making, "" if self.making.total > 0 else self.making.doing)

    def tell(self) -> None:
        super().tell()
        if self.is_attached and self.examples:
            self.query_one("#lines", StaticText).show(block(self.examples, LARGEST), layout=True)

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        if action in OF_PAIRS:
            return self.making.has_pairs and not (action == "train" and self.making.by_hand)
        if action == "go_on":
            return self.making.over and bool(self.making.stopped or self.making.code)
        return super().check_action(action, parameters)

    def action_copy(self) -> None:
        """The command as one would type it."""
        self.app.copy_to_clipboard(self.making.typed)
        self.notify(self.making.typed, title="copied", markup=False)

    def action_go_on(self) -> None:
        """The same command once more: it goes on with what is there."""
        old = self.making
        old.changed = lambda: None
        self.command = self.making = MakingProcess(old.words, old.file, old.tables, old.typed, old.columns)
        self.making.changed = self.tell
        work(self, self.making)
        self.clock.resume()
        self.tell()
        self.refresh_bindings()

    def action_review(self) -> None:
        """Decide by hand which of two answers is better."""
        self.mio.review_pairs(self.making.file, self.making.tables)

    def action_train(self) -> None:
        """A new run with this file as its data."""
        self.mio.new_with(self.making.tables, "Data")

    async def action_examples(self) -> None:
        """The report with examples, or back to what was printed."""
        if self.examples:
            self.examples = ""
        else:
            try:
                text = await aside(self.making.report.read_text, "utf-8")
            except (OSError, ValueError) as error:
                self.mio.complain(f"{self.making.report.name}: cannot be read: {one_line(error)}")
                return
            self.examples = "\n".join(text.splitlines()[:MOST_LINES])
        self.tell()
        self.query_one("#printed").scroll_home(animate=False)


def work(screen: MioScreen[Any], making: MakingProcess) -> None:
    """Let it begin."""
    screen.mio.commands.append(making)
    screen.app.run_worker(follow(screen.app, making), group=WORK, exit_on_error=False)
