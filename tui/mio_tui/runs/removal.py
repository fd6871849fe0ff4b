"""Deleting a run: asked first, and with its name to be typed where much would be lost."""

import asyncio
import os
import shutil
from contextlib import suppress
from pathlib import Path

from textual import work

from mio_local.runs.directory import Run
from mio_tui.dialogs import Answer, Ask, AskText
from mio_tui.formatting import size
from mio_tui.runs.looking import Looking

LARGE = 1e9  # bytes


class Removal(Looking):
    """The part of the list of runs that deletes."""

    def __init__(self) -> None:
        super().__init__()
        self.marked: list[str] = []

    @property
    def chosen(self) -> list[Run]:
        """The marked runs; without marks, the one under the cursor."""
        return [Run(self.mio.folder / name) for name in self.marked or [self.row.name if self.row else ""] if name]

    @work(exit_on_error=False)
    async def action_delete(self) -> None:
        """Ask, then delete the highlighted run."""
        if not (run := self.run):
            return
        if self.lives(run):
            return
        link = run.path.is_symlink()
        used = 0 if link else await asyncio.to_thread(folder_size, run.path)
        words = f"{run.name}: its settings, curves, checkpoints and adapter, {size(used)}."
        if link:
            words = f"{run.name}: a link; what it points to stays."
        if used > LARGE:
            typed = await self.app.push_screen_wait(AskText("Delete?", f"{words}\nType the run's name to delete it."))
            sure = typed == run.name
        else:
            answers = [Answer("d", "delete", "Delete it for good")]
            sure = await self.app.push_screen_wait(Ask("Delete?", words, answers)) == "delete"
        if not sure or self.lives(run):  # it may have been resumed while the question stood
            return
        try:
            await asyncio.to_thread(remove, run)
        except OSError as error:
            self.mio.complain(f"{run.name} could not be deleted: {error.strerror or error}")
        self.look()

    def lives(self, run: Run) -> bool:
        """Whether a trainer has the run, said to the user."""
        try:
            alive = run.is_locked()
        except OSError as error:
            self.mio.complain(f"{run.name} could not be deleted: {error.strerror or error}")
            return True
        if alive:
            self.notify(f"{run.name} is training: stop it first (enter, then x)", severity="warning", markup=False)
        return alive


def folder_size(folder: Path) -> int:
    """Bytes of every file below."""
    return sum(file.lstat().st_size for file in folder.rglob("*") if file.is_file())


def remove(run: Run) -> None:
    """Take the run out of sight in one rename, then delete it; of a link, only the link. Raises OSError, and leaves
    what could not be deleted under its old name."""
    if run.path.is_symlink():
        run.path.unlink()
        return
    gone = run.path.with_name(f".deleted-{run.name}-{os.getpid()}")
    run.path.rename(gone)
    try:
        shutil.rmtree(gone)
    except OSError:
        with suppress(OSError):
            gone.rename(run.path)
        raise
