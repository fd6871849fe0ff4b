"""Paths as users write them, and places that are built beside themselves."""

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
from mio_local.storage.writing import beside, share


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
    """A folder beside `place` that becomes it at the end, or of which the file `inside` does, all of it as open as the
    umask lets the folder be; what is left of it goes, and all of it where anything fails, or the process is asked to
    end. Raises RunError for a place that is taken."""
    if place.exists():
        raise RunError(f"{place}: is there already, and is left alone; name another place with --out")
    made = beside(place)
    try:
        with _ending():
            if not made.parent.exists():
                made.parent.mkdir(parents=True, exist_ok=True)
            made.mkdir()
            yield made
            if place.exists():
                raise RunError(f"{place}: was made a moment ago, and is left alone; name another place with --out")
            share(made)
            (made / inside).rename(place)
    finally:
        shutil.rmtree(made, ignore_errors=True)


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
