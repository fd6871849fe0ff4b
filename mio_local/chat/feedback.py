"""Preference pairs that a person makes in a chat: lines that `mio-local train --data` reads."""

import json
import os
from collections.abc import Sequence
from pathlib import Path

from mio_local.data.messages import Message
from mio_local.storage.writing import append, private_folder

NAME = "chat-pairs.jsonl"


def save_pair(file: Path, messages: Sequence[Message], better: str, worse: str) -> int:
    """Append a conversation's two answers in the layout `messages`; the number of pairs in the file. Raises OSError."""
    row = {"prompt": list(messages), "chosen": [_answer(better)], "rejected": [_answer(worse)]}
    line = json.dumps(row, ensure_ascii=False).encode() + b"\n"
    private_folder(file.parent)
    with os.fdopen(append(file, os.O_RDWR), "ab+") as handle:
        size = handle.seek(0, os.SEEK_END)
        if size:
            handle.seek(size - 1)
            if handle.read(1) != b"\n":  # cut by a full disk or a crash
                line = b"\n" + line
        handle.write(line)
        handle.flush()
        handle.seek(0)
        return sum(1 for line in handle if line.strip())


def _answer(text: str) -> Message:
    return {"role": "assistant", "content": text}
