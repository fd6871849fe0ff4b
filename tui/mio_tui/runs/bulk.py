"""What is done to the marked runs at once, or to the one under the cursor: they are stopped, deleted, taken back."""

import asyncio
from collections.abc import Callable, Sequence
from functools import partial

from textual import work

from mio_local.errors import MioError, RunError
from mio_local.process import program
from mio_local.runs import trash
from mio_local.runs.directory import LIVE, Run
from mio_tui.dialogs import Answer, Ask
from mio_tui.formatting import size
from mio_tui.runs.looking import Looking

NAMED = 6  # runs that a question names


class Bulk(Looking):
    """The part of the list of runs that acts on several. Nothing is deleted for good: see `mio_local.runs.trash`."""

    def __init__(self) -> None:
        super().__init__()
        self.marked: list[str] = []
        self.deleted: list[str] = []  # by the last deletion that was not taken back
        self.restored = ""  # a run that was taken back, until the cursor stands on it

    @property
    def chosen(self) -> list[Run]:
        """The marked runs; without marks, the one under the cursor."""
        return [Run(self.mio.folder / name) for name in self.marked or [self.row.name if self.row else ""] if name]

    def state(self, run: Run) -> str:
        """The run's state as it was last read."""
        return next((row.state for row in self.rows or [] if row.name == run.name), "damaged")

    def action_stop(self) -> None:
        """Ask the trainers of the chosen runs to stop, after one question."""
        waiting = [row.name for row in self.rows or [] if row.after]
        alive = [run for run in self.chosen if self.state(run) in LIVE or run.name in waiting]
        if not alive:
            self.notify(f"{_named(self.chosen)}: nothing to stop", markup=False)
            return
        words = "A trainer finishes its step, saves a checkpoint and the adapter, and ends.\nIt can go on later: r"
        self.sure("Stop", alive, words, Answer("s", "stop", "Stop and save"), self._stop)

    def _stop(self, alive: Sequence[Run]) -> None:
        asked = [run for run in alive if self.mio.ask(run, "stop")]
        if asked:
            self.notify(f"asked to stop: {_named(asked)}", markup=False)
        self.unmark()

    def action_delete(self) -> None:
        """Move the chosen runs to the trash, after one question."""
        alive = [run for run in self.chosen if self.state(run) in LIVE]
        chosen = [run for run in self.chosen if run not in alive]
        if alive:
            words = f"{_named(alive)}: training, and not deleted; stop it first (x)"
            self.notify(words, severity="warning", markup=False)
        if chosen:
            self.mio.before_keys(partial(self._ask_to_delete, chosen))  # which reads the disk first

    async def _ask_to_delete(self, chosen: Sequence[Run]) -> None:
        used = await asyncio.to_thread(lambda: sum(trash.size(run.path) for run in chosen))
        words = (f"Settings, curves, checkpoints and adapter, {size(used)}, are kept in the trash for seven days: u "
                 f"takes them back.\nTo empty it: {program()} delete --empty")  # fmt: skip
        self.sure("Delete", chosen, words, Answer("d", "delete", "Move to the trash"), self._delete)

    @work(exit_on_error=False)
    async def _delete(self, chosen: Sequence[Run]) -> None:
        self.deleted = await self.each("deleted", chosen, trash.delete) or self.deleted
        self.unmark()

    @work(exit_on_error=False)
    async def action_undelete(self) -> None:
        """Take back what was deleted last: all of one deletion here, else the last run in the trash."""
        back: list[Run] = []
        for name in self.deleted or [""]:
            try:
                back.append(await asyncio.to_thread(trash.undelete, self.mio.folder, name))
            except (MioError, OSError) as error:
                self.mio.complain(error)
        if back:
            self.notify(f"back again: {_named(back)}", markup=False)
            self.restored = back[0].name
        self.deleted = []
        self.look()

    def sure(
        self, verb: str, chosen: Sequence[Run], words: str, answer: Answer, then: Callable[[Sequence[Run]], object]
    ) -> None:
        """Do that, where the user wants it of all of them."""
        several = f"{_named(chosen)}\n" if len(chosen) > 1 else ""
        what = f"{len(chosen)} runs" if len(chosen) > 1 else chosen[0].name

        def answered(name: str | None) -> None:
            if name:
                then(chosen)

        self.app.push_screen(Ask(f"{verb} {what}?", several + words, [answer]), answered)

    async def each(self, done: str, chosen: Sequence[Run], work: Callable[[Run], object]) -> list[str]:
        """Do it with each, off the event loop; the names of those where that went well."""
        well: list[str] = []
        for run in chosen:
            try:
                await asyncio.to_thread(work, run)
                well.append(run.name)
            except RunError as error:
                self.mio.complain(error)
            except OSError as error:
                self.mio.complain(f"{run.name} could not be {done}: {error.strerror or error}")
        return well

    def unmark(self) -> None:
        """What was asked for is done."""
        self.marked = []
        self.look()


def _named(runs: Sequence[Run]) -> str:
    """The runs' names, as many as a line or two hold."""
    more = f" and {len(runs) - NAMED} more" if len(runs) > NAMED else ""
    return ", ".join(run.name for run in runs[:NAMED]) + more
