"""Deleted runs: a folder beside the others, `.trash/DATE/NAME`, from which they can be taken back for a week.

A run is moved there whole, in one rename; of a link, the link is moved, and what it leads to stays. Nothing that is not
in the folder of runs is ever moved or deleted.
"""

import os
import shutil
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from mio_local.errors import RunError, nearest
from mio_local.runs.directory import Run, free_name
from mio_local.runs.queue import idle
from mio_local.storage.writing import PRIVATE_FOLDER, private_folder

NAME = ".trash"
KEPT = 7 * 86400  # seconds
DATE = "%Y-%m-%dT%H%M%S.%fZ"


@dataclass(frozen=True)
class Deleted:
    """A run in the trash; `when` is Unix seconds."""

    path: Path
    when: float

    @property
    def name(self) -> str:
        return self.path.name


def delete(run: Run) -> Deleted:
    """Move a run to the trash, and delete for good what has been there for a week. Raises RunError for a run that
    trains or waits, and OSError."""
    with idle(run, "deleted"):
        folder = _folder(run.path.parent)
        private_folder(folder)
        now = datetime.now(UTC)
        (folder / now.strftime(DATE)).mkdir(mode=PRIVATE_FOLDER)
        place = folder / now.strftime(DATE) / run.name
        run.path.rename(place)
    with suppress(OSError):
        empty(run.path.parent, KEPT)
    return Deleted(place, now.timestamp())


def deleted(runs: Path) -> list[Deleted]:
    """What is in the trash of a folder of runs, the last deleted first. Raises RunError, OSError."""
    found: list[Deleted] = []
    folder = _folder(runs)
    for day in folder.iterdir() if folder.is_dir() else []:
        if (when := _when(day)) is not None:
            found += [Deleted(place, when) for place in day.iterdir()]
    return sorted(found, key=lambda one: one.when, reverse=True)


def undelete(runs: Path, name: str = "") -> Run:
    """Put the run that was deleted last back, or the last of that name; under the next free name where its own is taken
    meanwhile. Raises RunError where there is none, and OSError."""
    found = deleted(runs)
    one = next((one for one in found if name in ("", one.name)), None)
    if one is None:
        names = list(dict.fromkeys(other.name for other in found))
        there = f"{nearest(name, names)}; there are: {', '.join(names)}" if names else ""
        raise RunError(f"no run {name} in the trash of {runs}{there}" if name else f"the trash of {runs} is empty")
    run = Run(runs / (free_name(runs, one.name) if os.path.lexists(runs / one.name) else one.name))
    one.path.rename(run.path)
    with suppress(OSError):
        one.path.parent.rmdir()
    return run


def empty(runs: Path, older: float = 0) -> list[Deleted]:
    """Delete for good what has been in the trash for more than `older` seconds; what that was. Raises RunError and
    OSError."""
    limit = datetime.now(UTC).timestamp() - older
    gone = [one for one in deleted(runs) if one.when <= limit]
    for one in gone:
        if one.path.is_dir() and not one.path.is_symlink():
            shutil.rmtree(one.path)
        else:
            one.path.unlink()
        with suppress(OSError):
            one.path.parent.rmdir()
    return gone


def size(place: Path) -> int:
    """Bytes of a run's files; what cannot be read, or a link leads to, does not count."""
    total = 0
    for folder, _, files in os.walk(place) if not place.is_symlink() else []:
        for name in files:
            with suppress(OSError):
                total += os.lstat(os.path.join(folder, name)).st_size
    return total


def _folder(runs: Path) -> Path:
    """The trash of a folder of runs. Raises RunError where a link stands there."""
    folder = runs / NAME
    if folder.is_symlink():
        raise RunError(f"{folder}: is a link, which may lead anywhere; remove it")
    return folder


def _when(day: Path) -> float | None:
    """When what a folder of the trash holds was deleted; None for what is no such folder."""
    if day.is_symlink() or not day.is_dir():
        return None
    try:
        return datetime.strptime(day.name, DATE).replace(tzinfo=UTC).timestamp()
    except ValueError:
        return None
