"""Questions over a screen: a title, a few lines, and keys that answer."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Generic, TypeVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.screen import ModalScreen
from textual.widgets import Button, Input, Static

from mio_tui.formatting import block, line


@dataclass(frozen=True)
class Answer:
    """One way to answer: its key, its name for the caller, and what it does in words."""

    key: str
    name: str
    words: str


T = TypeVar("T")


class Dialog(ModalScreen[T], Generic[T]):
    """A box over the screen, with a title."""

    DEFAULT_CSS = """
    Dialog {
        align: center middle;
        #dialog {
            width: 72; max-width: 95%; height: auto; max-height: 90%;
            padding: 1 2; border: round $primary; background: $surface;
        }
    }
    """
    heading = ""

    def compose(self) -> ComposeResult:
        with Vertical(id="dialog") as dialog:
            dialog.border_title = line(self.heading)  # pyright: ignore[reportAttributeAccessIssue] - takes Text
            yield from self.body()

    def body(self) -> ComposeResult:
        """What stands in it."""
        raise NotImplementedError


class Ask(Dialog[str]):
    """A question. Returns the answer's name; the first one is Enter's, escape returns an empty string."""

    DEFAULT_CSS = """
    Ask {
        #dialog { width: auto; min-width: 40; max-width: 90%; overflow-y: auto; }
        #dialog > Static { width: auto; height: auto; max-width: 100%; }
        .answer { width: auto; min-width: 0; background: $surface; }
        .answer:focus { text-style: bold reverse; }
        #words { margin-bottom: 1; }
    }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "answer('')", "Stay here"),
        Binding("down,tab", "app.focus_next", "Next", show=False),
        Binding("up,shift+tab", "app.focus_previous", "Previous", show=False),
    ]

    def __init__(self, title: str, words: str, answers: Sequence[Answer]) -> None:
        super().__init__()
        self.heading, self.words, self.answers = title, words, answers
        for answer in answers:
            self._bindings.bind(answer.key, f"answer({answer.name!r})", answer.words, show=False)

    def body(self) -> ComposeResult:
        if self.words:
            yield Static(block(self.words), id="words", markup=False)
        for answer in self.answers:
            yield self.button(answer.key, answer.words, answer.name)
        yield self.button("esc", "Stay here", "")

    def button(self, key: str, words: str, name: str) -> Button:
        """An answer as a line that can be chosen."""
        return Button(line(f" {key:<6} {words} "), id=f"answer-{name}", classes="answer", compact=True)

    def on_mount(self) -> None:
        self.query(Button).first().focus()

    def on_button_pressed(self, event: Button.Pressed) -> None:
        event.stop()
        self.dismiss((event.button.id or "").removeprefix("answer-"))

    def action_answer(self, name: str) -> None:
        """Close with this answer."""
        self.dismiss(name)


class AskText(Dialog["str | None"]):
    """A question answered with a line of text; escape returns None."""

    DEFAULT_CSS = """
    AskText {
        #dialog { width: 70; }
        #words { height: auto; margin-bottom: 1; }
    }
    """
    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "leave", "Stay here")]

    def __init__(self, title: str, words: str, value: str = "", placeholder: str = "") -> None:
        super().__init__()
        self.heading, self.words, self.value, self.placeholder = title, words, value, placeholder

    def body(self) -> ComposeResult:
        yield Static(block(self.words), id="words", markup=False)
        yield Input(self.value, placeholder=self.placeholder, select_on_focus=False)  # typing adds to it

    def on_input_submitted(self, event: Input.Submitted) -> None:
        event.stop()
        self.dismiss(event.value)

    def action_leave(self) -> None:
        """Close without an answer."""
        self.dismiss(None)
