"""Read a growing events.jsonl without ever reading a line twice, whatever happens to the file."""

import json
import os
from pathlib import Path
from typing import Any

from pydantic_core import from_json

from mio_local.storage.plain_files import open_plain

CHUNK = 4_000_000  # bytes read at once: some hundredths of a second of parsing


class Tail:
    """A position in an event stream.

    `poll` returns (started_again, events). A torn last line is kept until its rest is there. Where the file was
    replaced (a resume cuts it back to the checkpoint) or got shorter, reading starts again at its beginning and
    `started_again` is true. A whole line that is no event is passed over and counted in `bad`.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.bad = 0
        self.behind = False  # the last poll did not reach the end
        self._inode, self._offset, self._rest = -1, 0, b""

    def poll(self, limit: int = CHUNK) -> tuple[bool, list[dict[str, Any]]]:
        """What is new, `limit` bytes at most. A file that is not there, or not now, has nothing new."""
        try:
            with open_plain(self.path) as file:
                stat = os.fstat(file.fileno())
                again = self._inode != -1 and (stat.st_ino != self._inode or stat.st_size < self._offset)
                if again:
                    self._offset, self._rest, self.bad = 0, b"", 0
                self._inode = stat.st_ino
                file.seek(self._offset)
                data = file.read(limit)
        except OSError:
            self.behind = False
            return False, []
        self._offset += len(data)
        self.behind = self._offset < stat.st_size
        whole, newline, rest = (self._rest + data).rpartition(b"\n")
        self._rest = rest
        return again, self._parsed(whole) if newline else []

    def _parsed(self, whole: bytes) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        for line in whole.split(b"\n"):
            try:
                record = _record(line)
            except (ValueError, RecursionError):
                self.bad += bool(line.strip())
                continue
            if isinstance(record, dict) and isinstance(record.get("type"), str) and _whole_number(record.get("step")):
                found.append(record)
            else:
                self.bad += 1
        return found


def _record(line: bytes) -> object:
    """What `json.loads` makes of a line, in a third of its time."""
    try:
        return from_json(line, cache_strings="keys")
    except ValueError:  # stricter than the standard library, which wrote the line: about lone surrogates, for one
        return json.loads(line)


def _whole_number(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**53
