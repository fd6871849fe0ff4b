"""What a command prints while it works, how far it is, and what it made."""

import shlex
from typing import ClassVar

from rich.text import Text
from textual import events
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll

from mio_local.process import program
from mio_local.runs.directory import called
from mio_tui.actions.command_process import CommandProcess
from mio_tui.actions.readable_report import readable
from mio_tui.base import MOVING, MioScreen
from mio_tui.formatting import duration, line
from mio_tui.static_text import StaticText

BAR = 20  # cells
LOOK = 0.25  # seconds between two looks at a command that works


class CommandScreen(MioScreen[None]):
    """One command. Leaving the screen does not end it."""

    TITLE_WORDS = "A command"
    HELP_WORDS = "It goes on when you leave, and its end is told. Leaving the app ends it."
    DEFAULT_CSS = """
    CommandScreen {
        #head { text-wrap: nowrap; text-overflow: ellipsis; }
        #printed { height: 1fr; padding: 0 1; }
        #printed > StaticText { width: 1fr; height: auto; }
    }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("x", "stop", "Stop it"),
        Binding("y", "copy", "Copy the command"),
        Binding("up,k", "scroll(-1)", "Up", show=False, group=MOVING),
        Binding("down,j", "scroll(1)", "Down", show=False, group=MOVING),
        Binding("escape,q", "dismiss", "Back"),
    ]

    def __init__(self, command: CommandProcess) -> None:
        super().__init__()
        self.command = command

    def body(self) -> ComposeResult:
        yield StaticText(id="head", classes="head")
        with VerticalScroll(id="printed"):
            yield StaticText(id="lines")

    def on_mount(self) -> None:
        self.query_one("#printed").focus()
        self.command.changed = self.tell
        self.clock = self.set_interval(LOOK, self.tell_head, pause=self.command.over)
        self.tell()

    def on_unmount(self) -> None:
        self.command.changed = lambda: None

    def tell_head(self) -> None:
        """What is done, and how far it is."""
        self.query_one("#head", StaticText).show(self.head())

    def head(self) -> Text:
        """The first line."""
        return head(self.command)

    def tell(self) -> None:
        """All of it."""
        if not self.is_attached:
            return
        self.tell_head()
        document = self.command.document
        width = self.query_one("#printed").size.width - 4
        shown = readable(document, width) if document else Text("\n".join(self.command.lines))
        self.query_one("#lines", StaticText).show(shown, layout=True)
        if self.command.over:
            self.clock.pause()
            self.refresh_bindings()
        self.tell_small()

    def on_resize(self, event: events.Resize) -> None:
        super().on_resize(event)
        if self.command.document:
            self.call_after_refresh(self.tell)

    def short(self) -> str:
        return self.head().plain

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        return action != "stop" or not self.command.over

    def action_stop(self) -> None:
        """Ask it to end."""
        self.run_worker(self.command.stop(), exit_on_error=False)

    def action_copy(self) -> None:
        """The command as one would type it."""
        words = typed(self.command)
        self.app.copy_to_clipboard(words)
        self.notify(words, title="copied", markup=False)

    def action_scroll(self, rows: int) -> None:
        """Up or down."""
        self.query_one("#printed", VerticalScroll).scroll_relative(y=rows, animate=False)


def typed(command: CommandProcess) -> str:
    """What to type in a shell for the first of the commands."""
    first, *flags = command.commands[0]
    of_run = [called(command.run)] if command.run else []
    return " ".join([program(), first, *of_run, *map(shlex.quote, flags)])


def head(command: CommandProcess, doing: str | None = None) -> Text:
    """A line: its title, and how far it is or how it ended; `doing` in place of what it says that it does."""
    made = line(command.title, 100, "bold")
    if command.over:
        sign = "✗" if command.code or command.stopped else "✓"
        return made.append("  ").append_text(line(f"{sign} {command.last}", 300, "not bold"))
    share = min(command.done / command.total, 1.0) if command.total > 0 else 0.0
    filled = round(share * BAR)
    bar = f" {'━' * filled}{'─' * (BAR - filled)} {command.done}/{command.total}" if command.total > 0 else ""
    took = duration(command.seconds)
    doing = command.doing if doing is None else doing
    return made.append("  ").append_text(line(f"{doing}{bar}  {took}".lstrip(), 300, "not bold"))
