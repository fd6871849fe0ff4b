"""log ref of the answers: the model with the adapter as it was at the start, computed once and kept, pair by pair.

Policy and reference go through the same code on the same batch, so before the first update they are equal to the bit.
After that a pair's first value stays: a later epoch, a resumed run and another objective see the very same numbers.
"""

import errno
import fcntl
import hashlib
import itertools
import os
import time
import zlib
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import numpy as np

from mio_local.backends import Model
from mio_local.data.collate import Batch
from mio_local.data.examples import Example
from mio_local.errors import one_line
from mio_local.storage.paths import cache_folder
from mio_local.storage.writing import append, private_folder

RECORD = np.dtype([("key", "V16"), ("chosen", "<f4"), ("rejected", "<f4"), ("check", "<u4")])
CHECKED = RECORD.itemsize - 4  # bytes of a record before `check`, the CRC-32 of them
TRIES = 100  # ms to wait for another trainer's write, which takes microseconds

Values = tuple[float, float]  # log-probs of the chosen and of the rejected answer, nats; float32 numbers


def key_of(example: Example) -> bytes:
    """16 bytes that stand for a pair's token ids, and for which of them are scored where that is not just the answers.
    """
    lengths = [len(example.prompt), len(example.chosen), len(example.rejected)]
    places = [place for spans in example.scored or () for place in (len(spans), *itertools.chain(*spans))]
    ids = np.array([*lengths, *example.prompt, *example.chosen, *example.rejected, *places], "<i4")
    return hashlib.blake2b(ids.tobytes(), digest_size=RECORD["key"].itemsize).digest()


def keys_of(example: Example) -> list[bytes]:
    """`key_of` of a pair; of a group with more answers those of its pairs, as one takes the answers two by two. The
    last may be a pair without a rejected answer."""
    answers, scored = example.answers, example.scored
    if not example.others:
        return [key_of(example)]
    keys: list[bytes] = []
    for first in range(0, len(answers), 2):
        chosen, rejected = (*answers[first : first + 2], [])[:2]
        spans = scored and (scored[0], *(*scored[1 + first : 3 + first], ())[:2])
        keys.append(key_of(replace(example, chosen=chosen, rejected=rejected, scored=spans)))
    return keys


class Store:
    """Values by `key_of`: in memory, and with the `name` of a `fingerprint` also in the cache folder's
    reference/NAME.bin, for other sessions, or in a `file` of a run's own. Records are appended there, by several
    trainers at once if need be.

    `damaged` counts records that are not what was written: they are taken out, and computed again. `trouble` says in
    one line why there is no such file, or why no more is written to it; empty where all is well.
    Memory then serves alone: the disk raises nothing here. Raises RunError where `cache_folder` does.
    """

    def __init__(self, name: str = "", file: Path | None = None) -> None:
        self.file = cache_folder() / "reference" / f"{name}.bin" if name else file
        self.trouble, self.damaged = "", 0
        self._values: dict[bytes, Values] = {}
        self._unwritten = b""
        if self.file:
            try:
                self._values, self.damaged = _read(self.file)
            except OSError as error:
                self._give_up(self.file, error)
        self._write()  # so that trouble is known before the first batch

    def get(self, key: bytes) -> Values | None:
        """The pair's values, None where they are not known."""
        return self._values.get(key)

    def add(self, found: Mapping[bytes, Values]) -> None:
        """Keep values; known ones stay as they are, and what is not finite is passed over."""
        new = [(key, *values) for key, values in found.items() if key not in self._values and np.isfinite(values).all()]
        self._values |= {key: (chosen, rejected) for key, chosen, rejected in new}
        self._unwritten += _records(new)
        self._write()

    def _write(self) -> None:
        if self.file is None or self.trouble:
            self._unwritten = b""
            return
        try:
            private_folder(self.file.parent)
            if _append(self.file, self._unwritten):
                self._unwritten = b""
        except OSError as error:
            self._give_up(self.file, error)

    def _give_up(self, file: Path, error: OSError) -> None:
        self.trouble = f"{file}: the reference's log-probs are not kept on disk: {error.strerror or one_line(error)}"


class Reference:
    """Reference log-probs. `seconds` were spent on computing `computed` pairs and looking up `found` ones."""

    def __init__(self, model: Model, store: Store | None = None) -> None:
        self._model = model
        self._store = store or Store()
        self.seconds = 0.0
        self.computed = self.found = 0

    def logps(self, batch: Batch, examples: Sequence[Example]) -> np.ndarray:
        """log ref of the batch's rows, (A * n,) float32, nats, chosen first; `batch.pairs` are places in `examples`.

        Where a pair is not known yet the whole batch is computed, as the policy's is, and what is new is kept.
        """
        began = time.perf_counter()
        keys = [
            (2 * number, group, key) for group, pair in enumerate(batch.pairs)
            for number, key in enumerate(keys_of(examples[pair]))
        ]  # fmt: skip
        rows = np.zeros((batch.answers + batch.answers % 2, batch.size), np.float32)  # 0 of an absent answer
        values = [self._store.get(key) for _, _, key in keys]
        if all(values):
            self.found += batch.size
        else:
            rows[: batch.answers] = self._model.logps(batch, reference=True).reshape(batch.answers, -1)
            computed = [(float(rows[at, group]), float(rows[at + 1, group])) for at, group, _ in keys]
            self._store.add({key: found for (_, _, key), found in zip(keys, computed, strict=True)})
            values = [self._store.get(key) or found for (_, _, key), found in zip(keys, computed, strict=True)]
            self.computed += batch.size
        for (at, group, _), found in zip(keys, values, strict=True):
            rows[at : at + 2, group] = found
        self.seconds += time.perf_counter() - began
        return rows[: batch.answers].flatten()


def _records(values: Sequence[tuple[bytes, float, float]]) -> bytes:
    records = np.array([(*each, 0) for each in values], RECORD)
    records["check"] = _checks(records.tobytes())
    return records.tobytes()


def _checks(records: bytes) -> np.ndarray:
    """What the `check` of each whole record must be."""
    size, view = RECORD.itemsize, memoryview(records)
    found = [zlib.crc32(view[start : start + CHECKED]) for start in range(0, len(records) - size + 1, size)]
    return np.array(found, np.uint32)


def _read(file: Path) -> tuple[dict[bytes, Values], int]:
    """The records in `file`, a pair's first one, and how many were damaged, which are taken out of it; a part of a
    record at the end is passed over."""
    try:
        with file.open("rb+") as opened:
            _lock(opened.fileno(), fcntl.LOCK_EX)
            content = opened.read()
            records = np.frombuffer(content[: len(content) // RECORD.itemsize * RECORD.itemsize], RECORD)
            sound = records[records["check"] == _checks(content)]
            if len(sound) < len(records):
                opened.seek(0)
                opened.write(sound.tobytes())
                opened.truncate()
    except FileNotFoundError:
        return {}, 0
    values = zip(sound["chosen"][::-1].tolist(), sound["rejected"][::-1].tolist(), strict=True)
    return dict(zip(sound["key"][::-1].tolist(), values, strict=True)), len(records) - len(sound)


def _append(file: Path, records: bytes) -> bool:
    """Append whole records in one write, after cutting the part of one that a killed writer left. False where another
    trainer holds the file for long. Raises OSError."""
    opened = append(file, os.O_RDWR)
    try:
        if not _lock(opened, fcntl.LOCK_EX):
            return False
        size = os.fstat(opened).st_size
        if part := size % RECORD.itemsize:
            os.ftruncate(opened, size - part)
        if os.write(opened, records) < len(records):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    finally:
        os.close(opened)
    return True


def _lock(file: int, kind: int) -> bool:
    """Take the lock of an open file, which closing it drops. Raises OSError where the file system has none."""
    for _ in range(TRIES):
        with suppress(BlockingIOError):
            fcntl.flock(file, kind | fcntl.LOCK_NB)
            return True
        time.sleep(0.001)
    return False
