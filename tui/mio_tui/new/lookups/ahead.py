"""The runs that train or wait in the folder now: a new one starts beside them, or goes behind the last."""

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from mio_local.errors import MioError
from mio_local.runs.queue import busy
from mio_tui.formatting import line

LONGEST = 30  # characters of a name among other words


@dataclass(frozen=True)
class Ahead:
    """Names: of the runs that train, newest first, and of those that wait, in line."""

    training: tuple[str, ...] = ()
    waiting: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.training or self.waiting)

    @property
    def last(self) -> str:
        """The run that a new one would go behind; "" where there is none."""
        return next(reversed(self.waiting or self.training), "")

    @property
    def here(self) -> str:
        """Who is at work, in words, or who is about to be."""
        training = [short(name) for name in self.training]
        waits = f"{len(self.waiting):,} {'waits' if len(self.waiting) == 1 else 'wait'}"
        if not training:
            return f"{short(self.waiting[0])} is about to train here" if self.waiting else ""
        names = training[0] if len(training) == 1 else f"{len(training):,} runs"
        return f"{names} {'trains' if len(training) == 1 else 'train'} here now{f', {waits}' if self.waiting else ''}"


def ahead(folder: Path) -> Ahead:
    """Who trains and who waits in a folder, none where it cannot be read; reads files, so it is for a thread."""
    training: list[str] = []
    waiting: list[str] = []
    with suppress(MioError, OSError):
        for run in busy(folder):
            with suppress(MioError, OSError):
                (waiting if run.read_status()["state"] == "queued" else training).append(run.name)
    return Ahead(tuple(training), tuple(waiting))


def short(name: str) -> str:
    """A run's name, cut to what a line of words has room for."""
    return line(name, LONGEST).plain
