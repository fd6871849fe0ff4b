"""Pairs that several processes tokenise are those that one does, whatever becomes of the processes."""

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from mio_local.data import encoding_processes
from mio_local.data.encoding_processes import Block, encode_in_processes, is_worth_it
from mio_local.data.stored.packed import Packed, packed
from mio_local.data.stored.preference_pair import Pair
from mio_local.data.template import Chat
from mio_local.data.templating.cutting import LongPrompt
from mio_local.data.tokenizer import load_tokenizer
from mio_local.errors import DataError
from mio_local.recipe import DataSettings, ModelSettings
from tests.helpers.loading import load

LONG = "why " * 60  # more than the 200 tokens that are asked for below, of one letter each


@pytest.fixture
def chat(tiny_model: Path) -> Chat:
    return Chat(load_tokenizer(ModelSettings(name=str(tiny_model))), now=0.0, settings=DataSettings(score="all"))


@pytest.fixture
def pairs() -> Packed:
    """Some of which are left out, for two reasons; others are scored in two places, or hold what reaches no token."""
    made: list[Pair] = []
    for number in range(300):
        turns = [{"role": "user", "content": f"q {number}"}, {"role": "assistant", "content": "mm"},
                 {"role": "user", "content": "and?"}]  # fmt: skip
        prompt = turns if number % 3 else f"{LONG if number % 40 == 0 else 'why'} {number}?"
        made.append(Pair(prompt, f"since {number}", "no" if number % 50 else f"since {number}", f"row {number}"))
    return packed(made)


@pytest.fixture
def blocks_of(monkeypatch: pytest.MonkeyPatch):
    return lambda size: monkeypatch.setattr(encoding_processes, "BLOCK", size)


def same(one, other) -> None:
    assert one.examples == other.examples
    assert list(one.left) == list(other.left)
    assert one.lost == other.lost
    assert one.examples.scored == other.examples.scored
    for mine, theirs in zip(one.examples.arrays[:4], other.examples.arrays[:4], strict=True):
        np.testing.assert_array_equal(mine, theirs)


@pytest.mark.slow
def test_they_are_what_one_process_makes_of_them(chat: Chat, pairs: Packed, blocks_of, tmp_path: Path) -> None:
    blocks_of(37)
    expected = chat.encode_all(pairs, 200, "skip", "skip")
    assert {each.is_long for each in expected.left} == {True, False}
    assert expected.examples.scored
    told: list[tuple[int, int]] = []
    made = encode_in_processes(
        pairs, chat, 200, "skip", "skip", lambda done, total: told.append((done, total)), tmp_path / "tokens.bin"
    )
    same(made, expected)
    assert isinstance(made.examples.tokens, np.memmap)
    assert told[0] == (37, 300)
    assert told[-1] == (300, 300)
    with pytest.raises(LongPrompt, match="row 120: prompt has"):
        encode_in_processes(pairs, chat, 200, "error", "skip")
    with pytest.raises(DataError, match="row 0: chosen and rejected"):
        encode_in_processes(pairs, chat, 200, "skip", "error")
    assert not multiprocessing.active_children()


@pytest.mark.slow
def test_a_process_that_is_ended_costs_time_and_no_pair(
    chat: Chat, pairs: Packed, blocks_of, monkeypatch: pytest.MonkeyPatch
) -> None:
    blocks_of(10)
    given: list[int] = []

    def kill(done: int, total: int) -> None:
        for child in multiprocessing.active_children():
            assert child.pid
            given.append(done)
            os.kill(child.pid, signal.SIGKILL)

    same(encode_in_processes(pairs, chat, 200, "skip", "skip", kill), chat.encode_all(pairs, 200, "skip", "skip"))
    assert given
    assert not multiprocessing.active_children()


def test_a_shortcut_that_proves_wrong_in_one_of_them_is_gone_back_on_for_all(
    chat: Chat, pairs: Packed, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = chat.encode_all(pairs, 200, "skip", "skip")
    wrong = Block(chat.encode_all(packed([pairs[1]]), 200).examples.arrays, [], {}, True)
    monkeypatch.setattr(encoding_processes, "_in_order", lambda *_: iter([wrong]))
    same(encode_in_processes(pairs, chat, 200, "skip", "skip"), expected)
    assert chat.misled


def test_many_pairs_are_shared_out_and_few_are_not(
    chat: Chat, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    few = load(tmp_path, *({"prompt": f"q{n}", "chosen": "a", "rejected": "b"} for n in range(30)))
    monkeypatch.setattr(encoding_processes, "cores", lambda: 2)
    assert not is_worth_it(few, chat)
    monkeypatch.setattr(encoding_processes, "MANY", 30)
    assert is_worth_it(few, chat)
    monkeypatch.setattr(encoding_processes, "cores", lambda: 1)
    assert not is_worth_it(few, chat)


@pytest.mark.slow
def test_none_is_left_where_the_one_that_waits_is_killed(tiny_model: Path, tmp_path: Path) -> None:
    code = f"""
import multiprocessing, sys, time
from mio_local.data import encoding_processes
from mio_local.data.stored.packed import packed
from mio_local.data.stored.preference_pair import Pair
from mio_local.data.template import Chat
from mio_local.data.tokenizer import load_tokenizer
from mio_local.recipe import ModelSettings

def tell(done, total):
    print(*[child.pid for child in multiprocessing.active_children()], flush=True)
    time.sleep(600)

if __name__ == "__main__":
    encoding_processes.BLOCK = 10
    chat = Chat(load_tokenizer(ModelSettings(name={str(tiny_model)!r})))
    pairs = packed([Pair(f"q{{n}}", "a", "b", str(n)) for n in range(1000)])
    encoding_processes.encode_in_processes(pairs, chat, 100, "skip", "skip", tell)
"""
    file = tmp_path / "waits.py"
    file.write_text(code, encoding="utf-8")
    with subprocess.Popen([sys.executable, str(file)], stdout=subprocess.PIPE, text=True) as waiting:
        assert waiting.stdout
        children = [int(word) for word in waiting.stdout.readline().split()]
        assert children
        waiting.kill()
    until = time.monotonic() + 60
    while any(Path(f"/proc/{child}").exists() for child in children):
        assert time.monotonic() < until
        time.sleep(0.1)
