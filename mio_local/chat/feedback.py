"""Preference pairs that a person makes in a chat: lines that `mio-local train --data` reads."""

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mio_local.data.messages import Message
from mio_local.errors import DataError
from mio_local.storage.plain_files import open_plain, read_plain
from mio_local.storage.writing import PRIVATE, append, private_folder, write_atomically

NAME = "chat-pairs.jsonl"
LARGEST = 100_000_000  # bytes: no chat saved as much


def save_pair(file: Path, messages: Sequence[Message], better: str, worse: str) -> tuple[int, bool]:
    """Append a conversation's two answers in the layout `messages`; the number of pairs in the file, and whether the
    same two were the last ones there the other way round, which give way. Raises DataError where this pair is there
    already, and OSError."""
    row = {"prompt": list(messages), "chosen": [_answer(better)], "rejected": [_answer(worse)]}
    line = json.dumps(row, ensure_ascii=False).encode() + b"\n"
    private_folder(file.parent)
    with os.fdopen(append(file, os.O_RDWR), "ab+") as handle:
        handle.seek(0)
        before = handle.read()
        if row in map(_row, before.splitlines()):
            raise DataError("this pair is there already")
        kept, _, last = before.rstrip().rpartition(b"\n")
        if _row(last) == row | {"chosen": row["rejected"], "rejected": row["chosen"]}:
            write_atomically(file, kept + b"\n" * bool(kept) + line, PRIVATE)
            return _count(before), True
        # a last line without its end was cut by a full disk or a crash
        handle.write(line if not before or before.endswith(b"\n") else b"\n" + line)
    return _count(before) + 1, False


def undo(file: Path) -> tuple[str, int]:
    """Take the pair that was saved last out of the file: its better answer, and the number of pairs that are left. All
    else stays to the byte. Raises DataError where the file's last line is no pair of a chat, and OSError."""
    before = read_plain(file) if file.exists() else b""
    kept, _, last = before.rstrip().rpartition(b"\n")
    row = _row(last)
    try:
        better = str(row["chosen"][0]["content"])
    except (KeyError, IndexError, TypeError):
        raise DataError("the last line is no pair that a chat saved" if last else "no pair is saved here") from None
    write_atomically(file, kept + b"\n" * bool(kept), PRIVATE)
    return better, _count(kept)


def saved(file: Path) -> int:
    """How many pairs chats saved in a file; 0 where there is none, or it cannot be read."""
    try:
        with open_plain(file) as handle:
            return _count(handle.read(LARGEST))
    except OSError:
        return 0


def _answer(text: str) -> Message:
    return {"role": "assistant", "content": text}


def _row(line: bytes) -> Any:
    """What a line says; None where it makes no sense."""
    try:
        return json.loads(line)
    except (ValueError, RecursionError):
        return None


def _count(content: bytes) -> int:
    return sum(1 for line in content.splitlines() if line.strip())
