"""How answers are drawn, in a box over the chat."""

from typing import Any, ClassVar

from pydantic import ValidationError
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal
from textual.widgets import Input, Label, Static

from mio_local.sampling import Sampling
from mio_tui.dialogs import Dialog
from mio_tui.formatting import block, line

SYSTEM = "system"


class ChatSettings(Dialog[tuple[Sampling, str] | None]):
    """The settings of every answer and the system message; escape leaves them as they are."""

    DEFAULT_CSS = """
    ChatSettings {
        #dialog { width: 78; }
        .setting { height: auto; }
        .setting Label { width: 20; }
        .setting Input { width: 12; height: 1; border: none; padding: 0 1; background: $panel; }
        .setting .meaning { width: 1fr; padding: 0 1; color: $text-muted; height: auto; }
        #setting-system { width: 1fr; }
        #wrong { height: auto; color: $error; margin-top: 1; }
    }
    """
    heading = "How answers are drawn"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "leave", "Leave as it was"),
        Binding("down", "app.focus_next", "Next", show=False),
        Binding("up", "app.focus_previous", "Previous", show=False),
    ]

    def __init__(self, sampling: Sampling, system: str) -> None:
        super().__init__()
        self.sampling, self.system = sampling, system

    def body(self) -> ComposeResult:
        for key, field in Sampling.model_fields.items():
            with Horizontal(classes="setting"):
                yield Label(key, markup=False)
                yield Input(str(getattr(self.sampling, key)), id=f"setting-{key}")
                yield Static(block(field.description), classes="meaning", markup=False)
        with Horizontal(classes="setting"):
            yield Label(SYSTEM, markup=False)
            yield Input(self.system, id=f"setting-{SYSTEM}", placeholder="system message")
        yield Static("enter takes these, esc leaves them", id="wrong", markup=False)

    def on_input_submitted(self, event: Input.Submitted) -> None:
        event.stop()
        given: dict[str, Any] = {key: self.value(key) for key in Sampling.model_fields}
        try:
            self.dismiss((Sampling.model_validate(given), self.value(SYSTEM)))
        except ValidationError as error:
            first = error.errors()[0]
            key = str(first["loc"][0])
            self.query_one("#wrong", Static).update(line(f"{key} {given[key]}: {first['msg'].lower()}"))
            self.query_one(f"#setting-{key}", Input).focus()

    def value(self, key: str) -> str:
        """What stands in a field."""
        return self.query_one(f"#setting-{key}", Input).value.strip()

    def action_leave(self) -> None:
        """Close without a change."""
        self.dismiss(None)
