"""How work tells how far it is, and what stands on the screen until it does."""

import os
import shutil
import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any, TextIO, cast

Report = Callable[[str, int, int], None]  # (what is being done, done, total); total 0 where it has no count
ERASE = "\r\x1b[K"  # the line that the cursor is in


def silent(what: str, done: int, total: int) -> None:
    """Report nothing."""


@contextmanager
def opening(words: str) -> Generator[Callable[[str], None]]:
    """Let `words`, or others that are given to what this yields, stand on the terminal until anything else is written
    there: a library takes seconds to import. Nothing where the output goes elsewhere."""
    out, error = sys.stdout, sys.stderr
    seen = all(stream is not None and stream.isatty() for stream in (out, error))  # None is one that was closed
    standing = seen and os.environ.get("TERM") != "dumb"
    if not standing:
        yield lambda words: None
        return
    room = shutil.get_terminal_size().columns - 3

    def say(words: str) -> None:
        if standing:
            short = words[: room if words.isascii() else room // 2]  # a letter may be two columns wide
            error.write(f"{ERASE}{short} …")
            error.flush()

    def clear() -> None:
        nonlocal standing
        if standing:
            standing = False
            error.write(ERASE)
            error.flush()

    say(words)
    sys.stdout, sys.stderr = (cast(TextIO, _Clearing(stream, clear)) for stream in (out, error))
    try:
        yield say
    finally:
        clear()
        sys.stdout, sys.stderr = out, error


class _Clearing:
    """A stream that calls `clear` before anything is written to it."""

    def __init__(self, stream: TextIO, clear: Callable[[], None]) -> None:
        self._stream, self._clear = stream, clear

    def write(self, text: str) -> int:
        self._clear()
        return self._stream.write(text)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)
