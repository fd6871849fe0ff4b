"""The menu of what can be done with a run: a key for each line, and why not where it cannot be done now."""

from typing import ClassVar

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.widgets import OptionList
from textual.widgets.option_list import Option

from mio_tui.actions.run_actions import ACTIONS, GROUPS, Meant
from mio_tui.dialogs import Dialog
from mio_tui.formatting import line

WIDTH = 66  # cells of a line


class ActionsMenu(Dialog[str]):
    """Returns the name of an action, or "" where none was chosen."""

    DEFAULT_CSS = """
    ActionsMenu {
        #dialog { width: 72; padding: 0; }
        OptionList {
            height: auto; max-height: 100%; background: $surface; border: none; padding: 0; text-wrap: nowrap;
        }
    }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,full_stop,q", "dismiss('')", "Stay here"),
    ]

    def __init__(self, meant: Meant) -> None:
        super().__init__()
        self.meant = meant
        self.heading = meant.title
        for action in ACTIONS:
            self._bindings.bind(action.key, f"choose({action.name!r})", action.words(meant), show=False)

    def body(self) -> ComposeResult:
        yield OptionList(*self.lines(), markup=False, compact=True)

    def lines(self) -> list[Option]:
        """The actions; the first one of each group is led by the group's name."""
        made: list[Option] = []
        for group in GROUPS:
            own = [action for action in ACTIONS if action.group == group]
            for action in own:
                refused = action.why_not(self.meant)
                text = Text(f"{group if action is own[0] else '':<8}")
                text.append(action.key, style="bold").append("  ").append_text(line(action.words(self.meant)))
                if refused:
                    text.append(" — ").append_text(line(refused))
                text.truncate(WIDTH, overflow="ellipsis")
                made.append(Option(text, id=action.name, disabled=bool(refused)))
        return made

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        event.stop()
        self.dismiss(event.option_id or "")

    def action_choose(self, name: str) -> None:
        """Choose by its key; where it cannot be done, say why not."""
        action = next(action for action in ACTIONS if action.name == name)
        if refused := action.why_not(self.meant):
            self.notify(f"{action.words(self.meant).rstrip('…')}: {refused}", severity="warning", markup=False)
        else:
            self.dismiss(name)
