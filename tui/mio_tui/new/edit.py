"""The draft as TOML, edited as text."""

from collections.abc import Callable
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.screen import ModalScreen
from textual.widgets import Static, TextArea

from mio_local.errors import RecipeError
from mio_tui.formatting import line


class EditRecipe(ModalScreen[bool]):
    """`take` is given the text and raises RecipeError for what is wrong with it; returns whether it was taken."""

    DEFAULT_CSS = """
    EditRecipe {
        align: center middle;
        #dialog { width: 96%; height: 92%; padding: 0 1; border: round $primary; background: $surface; }
        TextArea { height: 1fr; background: $surface; }
        #edit-error { height: auto; max-height: 3; color: $error; }
        #edit-keys { height: 1; color: $text-muted; }
    }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "dismiss(False)", "Stay here", priority=True),
        Binding("ctrl+s", "take", "Take it", priority=True),
    ]

    def __init__(self, text: str, take: Callable[[str], None]) -> None:
        super().__init__()
        self.text, self.take = text, take

    def compose(self) -> ComposeResult:
        with Vertical(id="dialog") as dialog:
            dialog.border_title = "The recipe as TOML"
            yield TextArea(self.text, show_line_numbers=True, tab_behavior="focus", compact=True)
            yield Static(id="edit-error", markup=False)
            yield Static("ctrl+s takes it · esc leaves the form as it was", id="edit-keys", markup=False)

    def on_mount(self) -> None:
        self.query_one(TextArea).focus()

    def action_take(self) -> None:
        """Take the text, or say what is wrong with it."""
        try:
            self.take(self.query_one(TextArea).text)
        except RecipeError as error:
            self.query_one("#edit-error", Static).update(line(f"✗ {error}", 300))
            return
        self.dismiss(True)
