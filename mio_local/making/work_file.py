"""What was drawn and judged so far, beside the file that is made of it: appended to, read again after a kill.

A line is the CRC-32 of a JSON object, and the object. The first says what the answers depend on; each other one is the
answers of a chunk of prompts, their rewards by one judge, or their log-probs. One that is torn or damaged is left out,
and what it held is made again.
"""

import fcntl
import hashlib
import json
import os
import re
import time
import zlib
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, Self

from mio_local.errors import RunError
from mio_local.making.answered import Judged
from mio_local.storage.json_files import parse
from mio_local.storage.writing import append, write_whole

FORMAT = 1
TORN = re.compile(rb"[0-9a-f]{0,8}|[0-9a-f]{8} ({[^\n]*)?")  # the part of a first line
Ids = list[list[list[int]]]  # of each prompt of a chunk, of each of its answers: tokens, with the one that ended it


class Work:
    """Answers, rewards and log-probs of chunks; of one process in memory, or with `file` on disk too.

    `depends` says what answers are drawn by, in words: a file of others is refused with a RunError that names the first
    difference, unless it is to be made `anew`. `created` is when it was begun, Unix seconds. `damaged` counts lines
    that were not what was written. Raises OSError, and RunError where another process has the file.
    """

    def __init__(
        self, file: Path | None = None, depends: Mapping[str, Any] | None = None, *, anew: bool = False
    ) -> None:
        self.file, self.depends = file, json.loads(json.dumps(dict(depends or {})))
        self.created, self.damaged = time.time(), 0
        self.wrote = ""  # the digest of the last file that was made of it
        self._answers: dict[int, tuple[str, Ids]] = {}
        self._judged: dict[tuple[str, int], tuple[str, Judged]] = {}
        self._logps: dict[int, tuple[str, list[list[float]]]] = {}
        self._opened = -1
        if file:
            self._opened = append(file, os.O_RDWR)
            try:
                self._open(file, anew=anew)
            except BaseException:
                self.close()
                raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let another process have the file."""
        if self._opened >= 0:
            os.close(self._opened)
            self._opened = -1

    def answers(self, chunk: int, prompts: str) -> Ids | None:
        """Those of a chunk, whose prompts have this digest; None where they are to be drawn."""
        known, ids = self._answers.get(chunk, ("", []))
        return ids if known == prompts else None

    def add_answers(self, chunk: int, prompts: str, ids: Ids) -> None:
        """Keep what was drawn."""
        self._write({"chunk": chunk, "prompts": prompts, "answers": ids})

    def judged(self, judge: str, chunk: int, ids: Ids) -> Judged | None:
        """What a judge said of a chunk's answers."""
        known, judged = self._judged.get((judge, chunk), ("", None))
        return judged if known == digest_of_ids(ids) else None

    def add_judged(self, judge: str, chunk: int, ids: Ids, judged: Judged) -> None:
        """Keep what a judge said."""
        self._write({"chunk": chunk, "of": digest_of_ids(ids), "judge": judge, **asdict(judged)})

    def logps(self, chunk: int, ids: Ids) -> list[list[float]] | None:
        """Log-probs of a chunk's answers, nats."""
        known, logps = self._logps.get(chunk, ("", []))
        return logps if known == digest_of_ids(ids) else None

    def add_logps(self, chunk: int, ids: Ids, logps: list[list[float]]) -> None:
        """Keep how likely the answers are to the model that drew them."""
        self._write({"chunk": chunk, "of": digest_of_ids(ids), "logps": logps})

    def add_wrote(self, digest: str) -> None:
        """Keep what the file was, so that it is known again."""
        if digest != self.wrote:
            self._write({"wrote": digest})

    def _open(self, file: Path, *, anew: bool) -> None:
        try:
            fcntl.flock(self._opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise RunError(f"{file}: another process works on it; wait for it, or name another --out") from None
        content = b"" if anew else self._read()
        lines = content.split(b"\n")
        sound = [found for line in lines[:-1] if (found := _checked(line)) is not None]
        self.damaged = len(lines) - 1 - len(sound)
        if lines[-1]:  # the part of a line that a killed process left
            os.ftruncate(self._opened, len(content) - len(lines[-1]))
        if not sound or "depends" not in sound[0]:
            if not TORN.fullmatch(content):
                self._refuse(file, "its first line is not what was written")
            os.ftruncate(self._opened, 0)
            self._write({"format": FORMAT, "created": self.created, "depends": self.depends})
            return
        head = sound[0]
        if head.get("format") != FORMAT:
            self._refuse(file, "another version wrote it")
        for key, value in self.depends.items():
            if head["depends"].get(key) != value:
                self._refuse(file, f"its answers were drawn with {key} {_shown(head['depends'].get(key))}, "
                                   f"not {_shown(value)}")  # fmt: skip
        self.created = head["created"]
        for record in sound[1:]:
            self._take(record)

    def _refuse(self, file: Path, why: str) -> None:
        raise RunError(f"{file}: {why}; do as then, name another --out, or draw them anew with --force")

    def _read(self) -> bytes:
        os.lseek(self._opened, 0, os.SEEK_SET)
        with os.fdopen(os.dup(self._opened), "rb") as opened:
            return opened.read()

    def _write(self, record: dict[str, Any]) -> None:
        if self._opened >= 0:
            text = json.dumps(record)
            line = f"{zlib.crc32(text.encode()):08x} {text}\n".encode()
            write_whole(self._opened, line)
        self._take(record)

    def _take(self, record: dict[str, Any]) -> None:
        chunk = record.get("chunk", -1)
        if "answers" in record:
            self._answers[chunk] = record["prompts"], record["answers"]
        elif "rewards" in record:
            rewards = [tuple(each) for each in record["rewards"]]
            judged = Judged(rewards, record.get("unjudged", {}), record.get("dropped", {}))
            self._judged[record["judge"], chunk] = record["of"], judged
        elif "logps" in record:
            self._logps[chunk] = record["of"], record["logps"]
        self.wrote = record.get("wrote", self.wrote)


def digest_of_ids(ids: Any) -> str:
    """16 hex digits that stand for lists of token ids."""
    return hashlib.sha256(json.dumps(ids).encode()).hexdigest()[:16]


def _checked(line: bytes) -> dict[str, Any] | None:
    check, _, text = line.partition(b" ")
    if check != f"{zlib.crc32(text):08x}".encode():
        return None
    return parse(text)


def _shown(value: Any) -> str:
    return ",".join(map(str, value)) if isinstance(value, list) else str(value)
