"""The lock of a run: who has it trains, or waits to. It names its holder, so that a signal reaches that process and no
other."""

import errno
import fcntl
import json
import os
import time
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from mio_local.errors import RunError
from mio_local.process import started
from mio_local.storage.json_files import read_json
from mio_local.storage.writing import PRIVATE, append, write_atomically

PATIENCE = 20  # times that a lock is asked for: somebody who asks `is_held` has it for a moment
_held: set[str] = set()  # the locks that this process has


def is_held(file: Path) -> bool:
    """Whether somebody has the lock. Safe to ask from who has it: with lockf, closing the file again would drop the
    process's own lock, so this is flock."""
    try:
        with file.open("rb+") as opened:
            fcntl.flock(opened, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except OSError as error:
        if error.errno == errno.EAGAIN:
            return True
        raise
    return False


def holder(file: Path) -> int:
    """The process that has the lock; 0 where nobody has it, or where that process cannot be told for certain: it must
    have written itself down, live since then, and have the file open."""
    if not is_held(file):
        return 0
    said = _said(file)
    pid, since = said.get("pid"), said.get("started")
    if not isinstance(pid, int) or isinstance(pid, bool) or pid <= 1 or not since or started(pid) != since:
        return 0
    return pid if _has_open(pid, file) else 0


@contextmanager
def held(file: Path, descriptor: int = -1) -> Generator[int]:
    """Have the lock; its file descriptor. Raises RunError where another process has it.

    Inside itself it does nothing. The lock belongs to the open file: a child that inherits the descriptor goes on
    having it, and says so with `descriptor`.
    """
    key = os.path.realpath(file)
    if key in _held:
        yield descriptor
        return
    with os.fdopen(append(file, os.O_RDWR) if descriptor < 0 else descriptor, "ab+") as opened:
        _take(opened.fileno(), file)
        _held.add(key)
        try:
            said = json.dumps({"pid": os.getpid(), "started": started(os.getpid())})
            write_atomically(_beside(file), said, PRIVATE)
            yield opened.fileno()
        finally:
            _held.discard(key)
            if _said(file).get("pid") == os.getpid():  # not where a child has the lock from here on
                with suppress(OSError):
                    _beside(file).unlink()


@contextmanager
def alone(file: Path, otherwise: str) -> Generator[None]:
    """Have a lock for a moment, without a word of who has it. Raises RunError, saying `otherwise`, where another has it
    for longer."""
    with os.fdopen(append(file, os.O_RDWR), "ab+") as opened:
        if not _taken(opened.fileno()):
            raise RunError(otherwise)
        yield


def _beside(file: Path) -> Path:
    """Where the holder of a lock writes itself down."""
    return file.with_suffix(".pid")


def _said(file: Path) -> dict[str, Any]:
    try:
        said = read_json(_beside(file))
    except (OSError, ValueError):
        return {}
    return said if isinstance(said, dict) else {}


def _take(descriptor: int, file: Path) -> None:
    if _taken(descriptor):
        return
    known = holder(file)
    process = f" (process {known})" if known else ""
    raise RunError(f"run {file.parent.name} is already training{process}; stop that one first")


def _taken(descriptor: int) -> bool:
    for _ in range(PATIENCE):
        with suppress(BlockingIOError):
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        time.sleep(0.02)
    return False


def _has_open(pid: int, file: Path) -> bool:
    """Whether a process has a file open, as far as this system tells."""
    descriptors = Path(f"/proc/{pid}/fd")
    if not descriptors.is_dir():
        return True
    wanted = file.stat()
    for each in descriptors.iterdir():
        with suppress(OSError):
            there = each.stat()
            if (there.st_dev, there.st_ino) == (wanted.st_dev, wanted.st_ino):
                return True
    return False
