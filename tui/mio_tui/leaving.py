"""Leaving the app: what trains goes on, unless one wants it to stop; what was begun from a menu ends."""

from typing import TYPE_CHECKING

from mio_local.errors import RunError
from mio_local.process import program
from mio_local.runs import directory
from mio_local.runs.directory import Run
from mio_local.text import visible
from mio_tui.actions.perform import WORK
from mio_tui.dialogs import Answer, Ask
from mio_tui.formatting import block, line
from mio_tui.key_order import KeysInOrder

if TYPE_CHECKING:
    from pathlib import Path

    from mio_local.runs.index import Index


class Leaving(KeysInOrder[str]):
    """Returns what is to be printed once the terminal is the shell's again."""

    folder: "Path"  # of the runs
    index: "Index"  # of that folder

    def living(self) -> list[Run]:
        """The runs whose trainer is at work. Raises RunError."""
        return [Run(self.folder / row.name) for row in self.index.read() if row.live]

    def ask(self, run: Run, command: str) -> bool:
        """Send a request to the run's trainer; whether that could be done."""
        raise NotImplementedError

    def action_leave(self) -> None:
        """Leave; ask first while something trains."""
        if isinstance(self.screen, Ask):
            return
        try:
            living = self.living()
        except RunError as error:
            self.exit(f"{block(error).plain}; what trains there goes on")
            return
        if any(worker.group == WORK and worker.is_running for worker in self.workers):
            words = "A command that was begun here is not done: leaving ends it."
            question = Ask("Quit?", words, [Answer("q", "quit", "End it and quit")])
            self.push_screen(question, lambda answer: self._leave(living) if answer else None)
            return
        self._leave(living)

    def _leave(self, living: list[Run]) -> None:
        if not living:
            self.exit("")
            return
        one = living[0].name if len(living) == 1 else f"{len(living)} runs"
        verb = "is" if len(living) == 1 else "are"
        words = f"{one} {verb} still training.\nCome back any time:  {program()}{directory.elsewhere(self.folder)}"
        answers = [
            Answer("k", "keep", "Keep training, close this window"),
            Answer("s", "stop", "Stop and save, then quit"),
        ]
        self.push_screen(Ask("Quit?", words, answers), lambda answer: self._left(answer or "", living))

    def _left(self, answer: str, living: list[Run]) -> None:
        if not answer:
            return
        if answer == "stop":
            asked = [self.ask(run, "stop") for run in living]
            if not all(asked):
                return
        self.exit("\n".join(_parting(run, answer) for run in living))


def _parting(run: Run, answer: str) -> str:
    name, called, start = line(run.name).plain, directory.called(run), visible(program())
    if answer == "stop":
        return f"{name} finishes its step, saves and ends. Go on with it: {start} resume {called}"
    back = f"{start}{directory.elsewhere(run.path.parent)}"
    return f"{name} keeps training. Back: {back}   As text: {start} watch {called}   Stop it: {start} stop {called}"
