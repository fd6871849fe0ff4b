"""The reference's log-probs are computed once for each model, adapter and pair; the cache never stands in the way."""

import fcntl
import resource
import struct
import subprocess
import sys
import zlib
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mio_local.data.collate import Batch, collate
from mio_local.data.examples import Example
from mio_local.training.reference import RECORD, Reference, Store, key_of, keys_of

ROOT = Path(__file__).resolve().parents[2]
NAME = "ab" * 32
APPEND = """
import sys
import zlib
from mio_local.training.reference import Store
store = Store(sys.argv[1])
print("ready", flush=True)
sys.stdin.read()
for step in range(1000):
    store.add({f"{sys.argv[2]}{step:015}".encode(): (-1.0 - step, -2.0)})
sys.exit(store.trouble or 0)
"""


class Counting:
    """A model whose values differ from call to call, as those of another batch do in their last bits."""

    def __init__(self, *given: float) -> None:
        self.calls = 0
        self.given = given

    def logps(self, batch: Batch, *, reference: bool) -> np.ndarray:
        assert reference
        self.calls += 1
        values = np.random.default_rng(self.calls).normal(-80, 30, batch.answers * batch.size)
        return np.array(self.given or values, np.float32)


def example(number: int) -> Example:
    """A pair of token ids."""
    return Example([1, number], [3, number, 2], [4, 2], False, False, False, f"line {number}")


def reference(*given: float, store: Store | None = None) -> tuple[Reference, Counting]:
    """A reference of a model that counts."""
    model: Any = Counting(*given)
    return Reference(model, store), model


def ask(of: Reference, examples: Sequence[Example], *pairs: int) -> np.ndarray:
    """The values of a batch."""
    return of.logps(collate(examples, pairs or range(len(examples)), 0), examples)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The cache folder, not there yet."""
    monkeypatch.setenv("MIO_LOCAL_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_second_epoch_and_second_session_pay_nothing() -> None:
    examples = [example(number) for number in range(6)]
    first, model = reference(store=Store(NAME))
    values = np.stack([ask(first, examples, 0, 1, 2), ask(first, examples, 3, 4, 5)])
    assert values.dtype == np.float32
    assert (model.calls, first.computed, first.found) == (2, 6, 0)
    again = ask(first, examples, 4, 0)  # in another order, as in the next epoch
    assert again.tobytes() == values[[1, 0, 1, 0], [1, 0, 4, 3]].tobytes()
    assert (model.calls, first.computed, first.found) == (2, 6, 2)
    assert first.seconds > 0
    second, fresh = reference(store=Store(NAME))
    kept = np.stack([ask(second, [example(number) for number in at], 0, 1, 2) for at in ((0, 1, 2), (3, 4, 5))])
    assert kept.tobytes() == values.tobytes()
    assert (fresh.calls, second.computed, second.found) == (0, 0, 6)


def test_without_a_store_values_are_kept_in_memory_alone(cache: Path) -> None:
    first, model = reference()
    values = ask(first, [example(1)])
    values_again = ask(first, [example(1)])
    assert values.tobytes() == values_again.tobytes()
    assert model.calls == 1
    assert not cache.exists()
    values_again[:] = 0  # is the caller's own
    assert ask(first, [example(1)]).tobytes() == values.tobytes()


def test_first_value_of_a_pair_stays() -> None:
    examples = [example(1), example(2), example(1)]
    first, model = reference(store=Store(NAME))
    before = ask(first, examples, 0)
    mixed = ask(first, examples, 2, 1)  # the known pair's row is computed again
    assert model.calls == 2
    assert mixed[[0, 2]].tobytes() == before.tobytes()
    second, fresh = reference(store=Store(NAME))
    assert ask(second, examples, 2, 1).tobytes() == mixed.tobytes()
    assert fresh.calls == 0


def test_lists_of_pairs_do_not_mix() -> None:
    first, model = reference()
    train = ask(first, [example(1), example(2)], 0)
    held_out = ask(first, [example(2), example(1)], 0)
    assert model.calls == 2
    assert train.tobytes() != held_out.tobytes()
    for number in range(200):  # each one's memory is free for the next
        ask(first, [example(10 + number)])
    assert model.calls == 202


def test_keys_differ_where_the_tokens_do() -> None:
    pair = Example([1, 2], [3, 4], [5, 6], False, False, False, "")
    others = [
        replace(pair, chosen=pair.rejected, rejected=pair.chosen), replace(pair, prompt=[1], chosen=[2, 3, 4]),
        replace(pair, chosen=[3], rejected=[4, 5, 6]), replace(pair, prompt=[1, 2, 3], chosen=[4]),
        replace(pair, rejected=[5, 6, 0]), replace(pair, prompt=[2, 2, 1, 2], chosen=[], rejected=[]),
    ]  # fmt: skip
    assert len({key_of(one) for one in (pair, *others)}) == 1 + len(others)
    assert key_of(replace(pair, where="elsewhere", cut_prompt=True)) == key_of(pair)
    assert len(key_of(pair)) == 16


def test_a_group_is_kept_two_by_two() -> None:
    """Its first two answers are the pair that they are, so a group finds what a pair left behind; an absent answer has
    0, and a batch of groups of several sizes fills them up."""
    whole = Example([1, 7], [3], [4, 2], False, False, False, "", others=([5], [6, 6], [8]))
    short = replace(whole, prompt=[2], chosen=[], others=())
    assert keys_of(short) == [key_of(short)]
    pairs = [replace(whole, others=()), replace(whole, chosen=[5], rejected=[6, 6], others=())]
    assert keys_of(whole) == [*map(key_of, pairs), key_of(replace(whole, chosen=[8], rejected=[], others=()))]
    scored = replace(whole, scored=((), *(((0, 1),) for _ in range(5))))
    assert len({*keys_of(whole), *keys_of(scored)}) == 6
    assert keys_of(scored)[0] == key_of(replace(scored, others=(), scored=scored.scored and scored.scored[:3]))

    values = np.arange(-1.0, -11, -1).reshape(5, 2)
    values[[0, 2, 3, 4], 1] = 0  # a model gives an absent answer 0
    first, model = reference(*values.ravel(), store=Store(NAME))
    assert ask(first, [whole, short]).tolist() == values.ravel().tolist()
    second, fresh = reference(store=Store(NAME))
    assert ask(second, [short, whole]).tolist() == values[:, ::-1].ravel().tolist()
    assert ask(second, pairs).tolist() == [-1, -5, -3, -7]
    assert ask(second, [replace(whole, others=([5], [6, 6]))]).tolist() == [-1, -3, -5, -7]
    assert (model.calls, fresh.calls, second.found) == (1, 0, 5)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_is_not_kept(bad: float) -> None:
    examples = [example(1), example(2)]
    first, model = reference(-1.0, -2.0, -3.0, bad, store=Store(NAME))
    for calls in (1, 2):
        np.testing.assert_array_equal(ask(first, examples), np.float32([-1, -2, -3, bad]))
        assert model.calls == calls
    assert (Store(NAME).get(key_of(examples[0])), Store(NAME).get(key_of(examples[1]))) == ((-1.0, -3.0), None)


def file_of(cache: Path) -> Path:
    return cache / "reference" / f"{NAME}.bin"


def test_file_is_read_with_damage(cache: Path) -> None:
    """A key's first record counts; zeros, which a crash leaves, and flipped bits are counted and taken out."""
    file = file_of(cache)
    file.parent.mkdir(parents=True)

    def pack(key: bytes, chosen: float, rejected: float) -> bytes:
        record = struct.pack("<16sff", key, chosen, rejected)
        return record + struct.pack("<I", zlib.crc32(record))

    keys = [bytes([number]) * 16 for number in range(5)]
    records = [(keys[0], -1, -2), (keys[1], -3, -4), (keys[0], -5, -6), (keys[3], -7, -8)]
    content = bytearray(b"".join(pack(*record) for record in records))
    content[28 + 19] ^= 0x40  # an exponent's bit of the second record
    file.write_bytes(content + bytes(28) + pack(keys[4], -9, -10)[:20])
    store = Store(NAME)
    assert [store.get(key) for key in keys] == [(-1.0, -2.0), None, None, (-7.0, -8.0), None]
    assert (store.damaged, store.trouble) == (2, "")
    assert (Store(NAME).damaged, file.stat().st_size) == (0, 3 * 28)


@pytest.mark.parametrize("part", [1, 16, 23])
def test_torn_end_shifts_no_later_record(cache: Path, part: int) -> None:
    Store(NAME).add({b"a" * 16: (-1.0, -2.0)})
    first, second = Store(NAME), Store(NAME)
    for store, key in ((first, b"b" * 16), (second, b"c" * 16)):
        with file_of(cache).open("ab") as file:
            file.write(b"x" * part)  # of a writer that was killed
        store.add({key: (-3.0, -4.0)})
    assert file_of(cache).stat().st_size == 3 * RECORD.itemsize
    assert [Store(NAME).get(bytes([key]) * 16) for key in b"abc"] == [(-1.0, -2.0), (-3.0, -4.0), (-3.0, -4.0)]


def test_two_trainers_at_once_lose_nothing() -> None:
    command, pipes = [sys.executable, "-c", APPEND, NAME], {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with (
        subprocess.Popen([*command, "x"], cwd=ROOT, **pipes) as one,
        subprocess.Popen([*command, "y"], cwd=ROOT, **pipes) as other,
    ):
        for process in (one, other):
            assert process.stdout
            assert process.stdout.readline() == b"ready\n"
        for process in (one, other):
            assert process.stdin
            process.stdin.close()
        assert (one.wait(60), other.wait(60)) == (0, 0)
    store = Store(NAME)
    for key in (f"{mark}{step:015}".encode() for mark in "xy" for step in range(1000)):
        assert store.get(key) == (-1.0 - int(key[1:]), -2.0)


def test_file_that_is_held_is_written_later(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mio_local.training.reference.TRIES", 2)
    store = Store(NAME)
    with file_of(cache).open("rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        store.add({b"a" * 16: (-1.0, -2.0)})
        assert file_of(cache).stat().st_size == 0
    store.add({b"b" * 16: (-3.0, -4.0)})
    assert (Store(NAME).get(b"a" * 16), Store(NAME).get(b"b" * 16)) == ((-1.0, -2.0), (-3.0, -4.0))
    assert store.trouble == ""


def forbid(cache: Path) -> None:
    cache.mkdir(mode=0o500)
    with suppress(PermissionError):
        (cache / "tried").touch()
        pytest.skip("this user writes anywhere")


@pytest.mark.parametrize(
    "prevent", [Path.touch, lambda cache: file_of(cache).mkdir(parents=True), forbid], ids=["file", "folder", "mode"]
)
@pytest.mark.usefixtures("refused_as_others")
def test_cache_that_cannot_be_used_stops_nothing(cache: Path, prevent: Callable[[Path], None]) -> None:
    prevent(cache)
    store = Store(NAME)
    assert store.trouble.startswith(str(file_of(cache)))
    assert "\n" not in store.trouble
    first, model = reference(store=store)
    assert ask(first, [example(1)]).tobytes() == ask(first, [example(1)]).tobytes()
    assert model.calls == 1


def test_file_that_may_only_be_read_is_read(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Store(NAME).add({b"a" * 16: (-1.0, -2.0)})

    def refuse(*arguments: Any) -> int:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("mio_local.training.reference.os.open", refuse)
    store = Store(NAME)
    assert store.get(b"a" * 16) == (-1.0, -2.0)
    assert "Permission denied" in store.trouble


def test_full_disk_leaves_whole_records(cache: Path) -> None:
    store = Store(NAME)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2 * RECORD.itemsize + 5, before[1]))
    try:
        store.add({bytes([number]) * 16: (-1.0, -2.0) for number in range(1, 4)})
        store.add({b"z" * 16: (-1.0, -2.0)})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert store.trouble
    assert store.get(b"z" * 16) == (-1.0, -2.0)
    Store(NAME).add({b"y" * 16: (-3.0, -4.0)})
    kept = [Store(NAME).get(key * 16) for key in (b"\1", b"\2", b"\3", b"z", b"y")]
    assert kept == [(-1.0, -2.0), (-1.0, -2.0), None, None, (-3.0, -4.0)]
