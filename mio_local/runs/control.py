"""Requests to a living trainer, through control.jsonl: {"id": ..., "command": ...} a line.

Commands: stop (finish the step and save), pause, resume, checkpoint, sample (answer the sample prompt now). Each is
acknowledged by a `control` event.
"""

import json
import os
import signal
import time
import uuid
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from mio_local.storage.plain_files import open_plain
from mio_local.storage.writing import append

COMMANDS = ("stop", "pause", "resume", "checkpoint", "sample")


def request(path: Path, command: str) -> str:
    """Append a request; its id."""
    identity = uuid.uuid4().hex[:12]
    line = json.dumps({"id": identity, "command": command, "time": time.time()}).encode() + b"\n"
    file = append(path)
    try:
        os.write(file, line)
    finally:
        os.close(file)
    return identity


def size(path: Path) -> int:
    """Bytes of requests so far: where those of a new session begin."""
    return path.stat().st_size if path.exists() else 0


class Control:
    """What the trainer reads between steps: new lines of control.jsonl, and the interrupt signals.

    The session's requests begin at byte `begin` of the file; without it, at the end that the file has now.
    """

    def __init__(self, path: Path, begin: int = -1) -> None:
        self._path = path
        # requests from before this session were meant for another trainer
        self._offset = size(path) if begin < 0 else begin
        self.interrupted = False
        self.kept: list[tuple[str, str]] = []

    def stop_asked(self) -> bool:
        """Whether a stop is among the requests so far; all of them stay for `poll`."""
        self.kept = self.poll()
        return any(command == "stop" for _, command in self.kept)

    def poll(self) -> list[tuple[str, str]]:
        """New (id, command) requests, in order; malformed lines are passed over."""
        found, self.kept = self.kept, []
        if self.interrupted:
            self.interrupted = False
            found.append(("signal", "stop"))
        if not self._path.exists() or self._path.stat().st_size <= self._offset:
            return found
        with open_plain(self._path) as file:
            file.seek(self._offset)
            data = file.read()
        whole = data[: data.rfind(b"\n") + 1]
        self._offset += len(whole)
        for line in whole.splitlines():
            try:
                record = json.loads(line)
                found.append((str(record["id"]), str(record["command"])))
            except (ValueError, KeyError, TypeError):
                continue
        return found

    @contextmanager
    def signals(self) -> Generator[None]:
        """Turn the first interrupt or termination into a stop request; a second interrupt ends the process at once."""

        def stop(number: int, frame: FrameType | None) -> None:
            self.interrupted = True
            signal.signal(signal.SIGINT, signal.default_int_handler)

        before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
