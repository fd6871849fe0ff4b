"""A run's event stream: one JSON object a line, appended by who holds the run's lock, readable while it grows.

Every event has `type`, `step` (optimiser steps done) and `time` (Unix seconds). Figures that depend on the machine
rather than on the recipe are named `perf/*`; all others are the same when the same recipe runs again.

    started     recipe facts: backend, device, objective, pairs, held_out, total_steps, truncated, trainable,
                inverse_tokens (mean of 1 / tokens over the held-out chosen answers), vocabulary (tokens)
    step        metrics.pair_metrics of the step's batch before the update, grad_norm, learning_rate, epoch, num_tokens;
                perf/: seconds, reference_seconds (of them on the reference), tokens_per_second, pairs_per_second,
                memory_active and memory_peak (bytes; the peak since the model was loaded)
    eval        metrics.held_out_metrics of the held-out pairs, and pairs
    text        perplexity of plain text, and of the base's; change (of its log, nats a token), change_stderr (over the
                texts), texts, tokens
    task        exact-match accuracy of greedy answers: accuracy, correct, questions
    round       what a round made: round and rounds, prompts, answers, pairs (examples to train on), equal (prompts
                whose answers have one reward), unjudged (answers without), reward/mean and reward/std over answers,
                pass@1, pass@k and k where a reward tells right from wrong, answer_tokens (mean), cut (share at the
                limit), kl and kl_per_token (nats against the reference), entropy (nats a token), group (the newest:
                prompt, answers, rewards); perf/seconds
    reward      greedy answers to the held-out prompts: reward/held_out and its stderr, prompts, answer_tokens, right
    checkpoint  path
    note        level (info, warning, error), code, text: what a person should know
    sample      prompt, base, policy: greedy answers of the reference and of the policy, as text
    control     command, id, result: an acknowledged request from control.jsonl
    progress    what, done, total: on the way to an eval or task; handed on and not written
    finished    state (done, stopped, failed), reason
    benchmark   name (preference, kl, exact-match, forgetting or a task), metric, of (policy, base, difference), value,
                count, and low and high, the bounds of a 95 % interval, or stderr; checkpoint (final, best, step-N);
                limit and seed as given; where they apply data (the file's name; empty for the run's own held-out
                pairs), rule, samples and chat_template; written by `eval`, at the step of the adapter it is of
"""

import hashlib
import json
import math
import os
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeGuard

from mio_local.storage.plain_files import open_plain, read_plain
from mio_local.storage.writing import PRIVATE, append, write_atomically, write_whole

LARGEST = sys.float_info.max  # JSON allows whole numbers beyond it


@dataclass(frozen=True)
class Event:
    """One line of events.jsonl; `values` are its other keys."""

    type: str
    step: int
    values: dict[str, Any] = field(default_factory=dict[str, Any])

    def line(self) -> bytes:
        """JSON and a newline. A float that is not finite becomes null, as JSON has no word for it."""
        values = {
            key: None if isinstance(value, float) and not math.isfinite(value) else value
            for key, value in self.values.items()
        }
        record = {"type": self.type, "step": self.step, "time": round(time.time(), 3), **values}
        return json.dumps(record, ensure_ascii=False, allow_nan=False).encode() + b"\n"


class EventWriter:
    """Appends events, each in one write."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file = append(path)
        if path.stat().st_size and not _ends_whole(path):  # of one that was killed as it wrote
            os.write(self._file, b"\n")
        self._sha, self._hashed = hashlib.sha256(), 0

    def write(self, event: Event) -> None:
        """Append one event. Raises OSError where the disk is full, and leaves no part of the event there."""
        write_whole(self._file, event.line())

    @property
    def offset(self) -> int:
        """The file's size in bytes: where the next event begins."""
        return os.fstat(self._file).st_size

    def mark(self) -> tuple[int, str]:
        """The file's size, and the digest of all that is in it: others append benchmarks to it meanwhile."""
        size = self.offset
        with open_plain(self._path) as file:
            file.seek(self._hashed)
            self._sha.update(file.read(size - self._hashed))
        self._hashed = size
        return size, self._sha.hexdigest()

    def close(self) -> None:
        """Close the file."""
        os.close(self._file)


def _ends_whole(path: Path) -> bool:
    with open_plain(path) as file:
        file.seek(-1, os.SEEK_END)
        return file.read() == b"\n"


def is_number(value: object) -> TypeGuard[float]:
    """Whether an event's value is a finite number; JSON knows no others, and anything may stand in a damaged file."""
    return isinstance(value, int | float) and not isinstance(value, bool) and -LARGEST <= value <= LARGEST


def begins_with(path: Path, size: int, digest: str) -> bool:
    """Whether the first `size` bytes are those of that `digest`; none passes. Raises OSError."""
    with open_plain(path) as file:
        return not digest or hashlib.sha256(file.read(size)).hexdigest() == digest


def rewind(path: Path, offset: int) -> None:
    """Keep the first `offset` bytes, and the benchmarks after them: they are of a checkpoint that stays, and nobody
    would measure them again. A new file takes the old one's place, so that a reader notices by its inode."""
    held = read_plain(path) if path.exists() else b""
    kept = [held[:offset], *(line for line in held[offset:].splitlines(keepends=True) if _is_benchmark(line))]
    write_atomically(path, b"".join(kept), PRIVATE)


def _is_benchmark(line: bytes) -> bool:
    if not line.endswith(b"\n"):
        return False
    try:
        record = json.loads(line)
    except ValueError:
        return False
    return isinstance(record, dict) and record.get("type") == "benchmark"
