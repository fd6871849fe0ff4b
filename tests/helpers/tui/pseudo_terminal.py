"""The app in a pseudo-terminal of a given size: keys in, and the screen out as a real terminal would hold it.

Unlike tmux it is read without a process for each look, so times of a few milliseconds can be told apart.
"""

import codecs
import fcntl
import os
import pty
import re
import select
import signal
import struct
import sys
import termios
import time
from collections.abc import Callable
from typing import Self

from rich.cells import get_character_cell_size

PIECE = re.compile(
    r"\x1b\[(?P<given>[\d;:<=>?]*)[ -/]*(?P<end>[@-~])"
    r"|\x1b[\]P^_X].*?(?:\x07|\x1b\\)|\x1b[ -/]*[0-Z\\^-~]|(?P<control>[\x00-\x1a\x1c-\x1f])|(?P<words>[^\x00-\x1f]+)",
    re.DOTALL,
)
KEYS = {
    "enter": "\r", "escape": "\x1b", "tab": "\t", "space": " ", "up": "\x1b[A", "down": "\x1b[B", "right": "\x1b[C",
    "left": "\x1b[D", "home": "\x1b[H", "end": "\x1b[F", "pageup": "\x1b[5~", "pagedown": "\x1b[6~", "f3": "\x1bOR",
}  # fmt: skip
BLINK = 2  # cells
Cell = tuple[str, str]  # a character, and the colours and styles that it was written with


class Grid:
    """As much of a terminal as Textual uses: the cursor, styles, clearing."""

    def __init__(self, columns: int, rows: int) -> None:
        self.columns, self.rows = columns, rows
        self.cells: list[list[Cell]] = [[(" ", "")] * columns for _ in range(rows)]
        self.x = self.y = 0
        self.style = self.rest = ""

    def feed(self, text: str) -> None:
        """Take what the app wrote; a sequence that is not whole waits for its rest."""
        text, at = self.rest + text, 0
        while at < len(text) and (found := PIECE.match(text, at)):
            at = found.end()
            if found["words"]:
                self._write(found["words"])
            elif found["end"]:
                self._obey(found["end"], found["given"])
            elif found["control"]:
                self.x = 0 if found["control"] == "\r" else self.x
                self.y += found["control"] == "\n"
        self.rest = text[at:]

    def _obey(self, end: str, given: str) -> None:
        if end == "H":
            row, _, column = given.partition(";")
            self.y, self.x = int(row or 1) - 1, int(column or 1) - 1
        elif end == "m":
            self.style = "" if given in ("", "0") else f"{self.style};{given}"
        elif end == "J":
            self.cells = [[(" ", "")] * self.columns for _ in range(self.rows)]
        elif end == "K" and self.y < self.rows:
            begin = 0 if given == "2" else self.x
            self.cells[self.y][begin:] = [(" ", "")] * (self.columns - begin)

    def _write(self, words: str) -> None:
        for letter in words:
            if self.y < self.rows and self.x < self.columns:
                self.cells[self.y][self.x] = letter, self.style
            self.x += get_character_cell_size(letter)

    def lines(self) -> list[str]:
        """The rows' characters."""
        return ["".join(letter for letter, _ in row) for row in self.cells]


class PtyApp:
    """A Python command in a terminal of its own. Use it as a context manager; at the end it is killed."""

    def __init__(self, columns: int, rows: int, *command: str) -> None:
        self.grid = Grid(columns, rows)
        self.decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self.sent = 0  # bytes from the app
        self.cpu = 0.0  # seconds that it used, once it has ended
        self.began = self.read_at = time.monotonic()
        self.pid, self.terminal = pty.fork()
        if self.pid == 0:
            held = {**os.environ, "TERM": "xterm-256color", "COLORTERM": "truecolor"}
            for name in ("COLUMNS", "LINES"):  # would count for more than the terminal's size; readline sets them
                held.pop(name, None)
            os.execve(sys.executable, [sys.executable, *command], held)
        fcntl.ioctl(self.terminal, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        os.kill(self.pid, signal.SIGKILL)
        os.close(self.terminal)
        used = os.wait4(self.pid, 0)[2]
        self.cpu = used.ru_utime + used.ru_stime

    def read(self, seconds: float) -> bool:
        """Take what the app writes within that time; whether it wrote anything."""
        if not select.select([self.terminal], [], [], seconds)[0]:
            return False
        held = os.read(self.terminal, 1 << 16)
        self.read_at = time.monotonic()
        self.sent += len(held)
        self.grid.feed(self.decoder.decode(held))
        return True

    def wait(self, truth: Callable[[], object], seconds: float = 30) -> float:
        """The time.monotonic() of the reading that made it true; AssertionError with the screen where none does."""
        end = time.monotonic() + seconds
        while not truth():
            assert time.monotonic() < end, "\n".join(self.grid.lines())
            self.read(0.05)
        return self.read_at

    def wait_for(self, words: str, seconds: float = 30) -> float:
        """Until these words are on the screen."""
        return self.wait(lambda: any(words in line for line in self.grid.lines()), seconds)

    def settle(self, seconds: float = 0.1, most: float = 3.0) -> None:
        """Until nothing was written for that long, or `most` seconds have passed."""
        end = time.monotonic() + most
        while self.read(seconds) and time.monotonic() < end:
            pass

    def press(self, *keys: str) -> None:
        """Press keys, by Textual's names; other text is typed as it is."""
        os.write(self.terminal, "".join(KEYS.get(key, key) for key in keys).encode())

    def answer(self, key: str) -> float:
        """Seconds from a key to the first change of the screen; a cell or two are a cursor that blinks."""
        before = [list(row) for row in self.grid.cells]
        began = time.monotonic()
        self.press(key)
        return self.wait(lambda: _differ(before, self.grid.cells) > BLINK) - began


def _differ(before: list[list[Cell]], now: list[list[Cell]]) -> int:
    rows = [(old, new) for old, new in zip(before, now, strict=True) if old != new]
    return sum(one != other for old, new in rows for one, other in zip(old, new, strict=True))
