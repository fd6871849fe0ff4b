"""The keys of where you are."""

from typing import ClassVar

from rich.table import Table
from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.screen import ModalScreen, Screen
from textual.widgets import Static

from mio_tui.formatting import line


class HelpScreen(ModalScreen[None]):
    """Every key that works on the screen under this one, in the order in which the screen lists them."""

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
        self.keys = _keys(under)

    def compose(self) -> ComposeResult:
        with VerticalScroll(id="help") as box:
            box.border_title = f"Keys: {self.title_words}"
            box.border_subtitle = "esc closes"
            table = Table(box=None, show_header=False, pad_edge=False, expand=True)
            table.add_column(justify="right", style="bold", no_wrap=True)
            table.add_column()
            for key, what in self.keys:
                table.add_row(line(key), Text(what))
            yield Static(table, markup=False)
            if self.words:
                yield Static(Text("\n" + self.words), markup=False)


def _keys(screen: Screen[object]) -> list[tuple[str, str]]:
    """(key, what it does), each action once, those of the focused widget before the screen's, the app's last."""
    found: dict[str, tuple[list[str], str]] = {}
    for active in screen.active_bindings.values():
        binding = active.binding
        if not binding.description or not active.enabled:
            continue
        what = f"{binding.description}: {binding.tooltip}" if binding.tooltip else binding.description
        keys, _ = found.setdefault(f"{binding.action} {binding.description}", ([], what))
        shown = screen.app.get_key_display(binding)
        if shown not in keys:
            keys.append(shown)
    return [(" ".join(keys), what) for keys, what in found.values()]
