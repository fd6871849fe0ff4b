"""A screen that shows a run, or several, and does what can be done with them."""

from collections.abc import Iterator, Sequence
from functools import partial
from typing import ClassVar

from textual.app import SystemCommand

from mio_local.runs.directory import Run
from mio_tui.actions.actions_menu import ActionsMenu
from mio_tui.actions.run_actions import ACTIONS, Meant
from mio_tui.base import MioScreen


class Acting(MioScreen[None]):
    """`OWN` names the actions that the screen does itself, each in its method `action_NAME`."""

    OWN: ClassVar[tuple[str, ...]] = ("compare", "chat", "stop", "resume")

    @property
    def chosen(self) -> Sequence[Run]:
        """The runs that are meant."""
        raise NotImplementedError

    def action_actions(self) -> None:
        """Show what can be done with them."""
        if self.chosen:
            meant = self.meant()
            self.app.push_screen(ActionsMenu(meant), lambda name: self.perform(meant, name) if name else None)

    def meant(self) -> Meant:
        """The chosen runs, of which there is one."""
        from mio_tui.actions.perform import last_command  # here: the first screen is drawn without it

        last = last_command(self.mio.commands, self.chosen[0])
        return Meant.by(self.chosen, last.title if last else "")

    def perform(self, meant: Meant, name: str) -> None:
        """Do what ACTIONS calls so."""
        if name in self.OWN:
            getattr(self, f"action_{name}")()
        else:
            from mio_tui.actions.perform import Performer

            Performer(self, meant).perform(name)

    def in_palette(self) -> Iterator[SystemCommand]:
        """What can be done with them now, for the palette."""
        if not self.chosen:
            return
        meant = self.meant()
        for action in ACTIONS:
            if not action.why_not(meant):
                words = action.words(meant).rstrip("…")
                call = partial(self.perform, meant, action.name)
                yield SystemCommand(words, f"{meant.title}: . {action.key}", call)
