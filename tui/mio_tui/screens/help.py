"""The keys of where you are, by what they are for."""

from typing import ClassVar

from rich.table import Table
from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.screen import ModalScreen, Screen
from textual.widgets import Static

from mio_tui.actions.acting import Acting
from mio_tui.actions.run_actions import in_help
from mio_tui.bound_keys import keys_of
from mio_tui.formatting import line

PALETTE = ("^p", "Find any of these by a word")


class HelpScreen(ModalScreen[None]):
    """What the screen is for, what can be done with its runs, and how to move about."""

    DEFAULT_CSS = """
    HelpScreen {
        align: center middle;
        #help {
            width: 76; max-width: 96%; height: auto; max-height: 92%; padding: 0 2; border: round $primary;
            background: $surface;
        }
        #help > Static { height: auto; }
    }
    """
    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape,question_mark,f1,q", "dismiss", "Close")]

    def __init__(self, under: Screen[object], title: str, words: str) -> None:
        super().__init__()
        self.title_words = title
        self.words = words
        self.keys = keys_of(under)
        self.acting = isinstance(under, Acting)

    def compose(self) -> ComposeResult:
        with VerticalScroll(id="help") as box:
            box.border_title = f"Keys: {self.title_words}"
            box.border_subtitle = "esc closes"
            yield Static(_table([*self.keys.doing, PALETTE]), markup=False)
            if self.acting:
                yield Static(Text("\nWith a run, after .", style="bold"), markup=False)
                yield Static(_table(in_help()), markup=False)
            moving = " · ".join(f"{key} {what}" for key, what in self.keys.moving)
            for words in filter(None, (moving, self.keys.typing, self.words)):
                yield Static(Text(f"\n{words}"), markup=False)


def _table(keys: list[tuple[str, str]]) -> Table:
    table = Table(box=None, show_header=False, pad_edge=False, expand=True)
    table.add_column(justify="right", style="bold", no_wrap=True)
    table.add_column()
    for key, what in keys:
        table.add_row(line(key), Text(what))
    return table
