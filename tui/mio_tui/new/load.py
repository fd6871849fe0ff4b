"""Load a recipe: a shipped one, or a file."""

from pathlib import Path
from typing import ClassVar

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.widgets import Input, OptionList, Static
from textual.widgets.option_list import Option

from mio_local.shipped import recipes
from mio_tui.dialogs import Dialog
from mio_tui.formatting import line
from mio_tui.new.path_input import PathInput


class LoadRecipe(Dialog[Path | None]):
    """Returns the file that was chosen, or None."""

    DEFAULT_CSS = """
    LoadRecipe {
        #dialog { width: 90; max-width: 96%; }
        OptionList { height: auto; max-height: 12; background: $surface; padding: 0; text-wrap: nowrap; }
        Input { margin-top: 1; }
        Static { height: auto; color: $text-muted; }
    }
    """
    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "dismiss(None)", "Stay here")]
    heading = "Load a recipe"

    def __init__(self) -> None:
        super().__init__()
        self.files = recipes()

    def body(self) -> ComposeResult:
        longest = max((len(file.stem) for file in self.files), default=0)
        yield OptionList(*(Option(_prompt(file, longest)) for file in self.files), markup=False, compact=True)
        yield PathInput(placeholder="or a file: ./recipe.toml", compact=True)
        yield Static("what was entered before is replaced · tab to the file · esc stays", markup=False)

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        event.stop()
        self.dismiss(self.files[event.option_index])

    def on_input_submitted(self, event: Input.Submitted) -> None:
        event.stop()
        if event.value.strip():
            self.dismiss(Path(event.value.strip()))


def _prompt(file: Path, longest: int) -> Text:
    """A shipped recipe's name, padded to the `longest`, and the first line of what it says of itself."""
    try:
        first = file.read_text(encoding="utf-8").partition("\n")[0]
    except (OSError, UnicodeDecodeError):
        first = ""
    return Text(f"{file.stem:<{longest}}  ").append_text(line(first.lstrip("# "), 58))
