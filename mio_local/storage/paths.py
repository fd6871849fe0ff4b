"""Paths as users write them, and places that are built beside themselves."""

import glob
import os
import shutil
import signal
import sys
import threading
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mio_local.errors import RecipeError, RunError


def expanded(name: str, said: str) -> Path:
    """The path called `name`, ~ being the user's home. Raises RecipeError for the home of a user that is not there;
    `said` is the flag that it was given with."""
    try:
        return Path(name).expanduser()
    except RuntimeError:
        raise RecipeError(f"{said} {name}: there is no such user; write the whole path") from None


def cache_folder() -> Path:
    """Where things are kept that can be made again: MIO_LOCAL_CACHE, else the user's cache folder. Raises RunError for
    the home of a user that is not there."""
    if chosen := os.environ.get("MIO_LOCAL_CACHE"):
        try:
            return Path(chosen).expanduser()
        except RuntimeError:
            raise RunError(f"MIO_LOCAL_CACHE {chosen}: there is no such user; choose another folder") from None
    import platformdirs

    return platformdirs.user_cache_path("mio-local")


@contextmanager
def building(place: Path, inside: str = "") -> Generator[Path]:
    """A folder beside `place` that becomes it at the end, or of which the file `inside` does; what is left of it goes,
    and all of it where anything fails, or the process is asked to end. Raises RunError for a place that is taken."""
    if place.exists():
        raise RunError(f"{place}: is there already, and is left alone; name another place with --out")
    for old in place.parent.glob(f".{glob.escape(place.name)}.*"):
        if (number := old.name.rpartition(".")[2]).isdecimal() and not _runs(int(number)):
            shutil.rmtree(old, ignore_errors=True)  # of one that was killed
    beside = place.with_name(f".{place.name}.{os.getpid()}")
    try:
        with _ending():
            beside.mkdir(parents=True)
            yield beside
            if place.exists():
                raise RunError(f"{place}: was made a moment ago, and is left alone; name another place with --out")
            (beside / inside).rename(place)
    finally:
        shutil.rmtree(beside, ignore_errors=True)


def _runs(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):  # somebody else's; no process's number at all
        return True
    return True


@contextmanager
def _ending() -> Generator[None]:
    """While this is open, SIGTERM ends the process as an exception does, so that it can tidy up."""

    def end(number: int, _: Any) -> None:
        signal.signal(number, signal.SIG_IGN)
        sys.exit(128 + number)

    if threading.current_thread() is not threading.main_thread():  # only the main one is told of signals
        yield
        return
    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
