"""A choice that another step makes, in a row among the settings: enter leads there."""

from typing import ClassVar

from rich.text import Text
from textual.binding import Binding, BindingType

from mio_tui.formatting import line
from mio_tui.new.checks import DATA
from mio_tui.new.state import State, Step
from mio_tui.new.stock import shown
from mio_tui.static_text import StaticText


class Place(StaticText, can_focus=True):
    """What is chosen in the step of that number; `help` says how to change it."""

    DEFAULT_CSS = """
    Place {
        height: 1; width: 1fr; color: $text-muted;
        &:focus { color: $foreground; text-style: bold; background: $panel; }
    }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter,right,space", "go", "There", show=False),
    ]

    def __init__(self, number: int, name: str) -> None:
        super().__init__()
        self.number, self.label = number, name
        self.help = f"{name}: enter goes to where it is chosen"

    def tell(self, state: State) -> None:
        """Show what is chosen now."""
        chosen = state.draft.text("data.source" if self.number == DATA else "model.name")
        words = shown(chosen) if chosen else f"choose the {self.label} first"
        if self.number == DATA and state.data.pairs:
            words += f", {state.data.pairs:,} pairs to train on"
        self.show(Text(f"{self.label:<17}").append_text(line(words)))

    def action_go(self) -> None:
        """To that step."""
        self.post_message(Step.GoTo(self.number))

    def on_click(self) -> None:
        self.action_go()
