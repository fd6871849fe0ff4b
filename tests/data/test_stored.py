"""Pairs and tokens that are kept by content: the same as read, verified, and never what another file held."""

import hashlib
import json
import os
import shutil
import stat
import threading

import pytest

from mio_local.data import pairs as reading
from mio_local.data.encoding import encode
from mio_local.data.pairs import load_pairs
from mio_local.data.stored import written as written_examples
from mio_local.data.template import Chat
from mio_local.data.tokenise import read_split, tokenise
from mio_local.data.tokenizer import load_tokenizer
from mio_local.errors import DataError
from mio_local.progress import silent
from mio_local.recipe import DataSettings, ModelSettings, Recipe

ROWS = [{"prompt": f"What is {n}?", "chosen": f"It is {n}.", "rejected": "No idea.", "meta": n} for n in range(40)]
SKIP = DataSettings(bad_rows="skip")


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("MIO_LOCAL_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def unread(monkeypatch):
    """No file may be read from here on."""

    def refuse(*_, **__):
        raise AssertionError("the rows were read again")

    return lambda: monkeypatch.setattr(reading, "read_rows", refuse)


def written(tmp_path, rows=ROWS):
    file = tmp_path / "pairs.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return str(file)


def facts(pairs):
    return {name: value for name, value in vars(pairs).items() if name not in ("blob", "ends")}


def test_a_second_reading_is_the_first_without_the_file(cache, tmp_path, unread):
    file = written(tmp_path, [*ROWS, {"prompt": "q", "chosen": "", "rejected": "b"}])
    first = load_pairs(file, SKIP)
    unread()
    second = load_pairs(file, SKIP)
    assert list(second) == list(first)
    assert facts(second) == facts(first)
    assert first.unused == ["meta"]
    with pytest.raises(DataError, match=r"pairs\.jsonl line 41: chosen is empty; repair it"):
        load_pairs(file, DataSettings())
    assert stat.S_IMODE(next((cache / "pairs").iterdir()).stat().st_mode) == 0o700


def test_another_content_or_another_setting_is_read_anew(cache, tmp_path):
    file = written(tmp_path)
    load_pairs(file, SKIP)
    written(tmp_path, [{**ROWS[0], "chosen": "Another."}])
    assert [pair.chosen for pair in load_pairs(file, SKIP)] == ["Another."]
    told = load_pairs(file, SKIP.model_copy(update={"system": "be"}))
    assert told[0].prompt[0] == {"role": "system", "content": "be"}


def test_where_a_file_lies_does_not_matter(cache, tmp_path, monkeypatch, unread):
    """As it is typed for a check, and as a run's recipe writes it down."""
    file = written(tmp_path)
    first = list(load_pairs(file, SKIP))
    (tmp_path / "elsewhere").mkdir()
    copy = shutil.copy(file, tmp_path / "elsewhere")
    monkeypatch.chdir(tmp_path)
    unread()
    assert [list(load_pairs(str(name), SKIP)) for name in ("pairs.jsonl", "./pairs.jsonl", copy)] == [first] * 3


def test_what_comes_through_a_pipe_is_not_kept(cache, tmp_path):
    """Its name says nothing of it."""
    pipe = tmp_path / "pairs.jsonl"
    os.mkfifo(pipe)
    for answer in ("one", "two"):
        text = json.dumps({**ROWS[0], "chosen": answer}) + "\n"
        threading.Thread(target=pipe.write_text, args=(text,)).start()
        assert [pair.chosen for pair in load_pairs(str(pipe), SKIP)] == [answer]


@pytest.mark.parametrize("name", ["pairs.bin", "ends.npy", "meta.json"])
def test_what_is_damaged_is_made_anew(cache, tmp_path, name):
    file = written(tmp_path)
    first = list(load_pairs(file, SKIP))
    kept = next((cache / "pairs").iterdir()) / name
    content = bytearray(kept.read_bytes())
    content[len(content) // 2] ^= 1
    kept.write_bytes(content)
    assert list(load_pairs(file, SKIP)) == first
    assert kept.read_bytes() != content


def test_a_cache_that_takes_nothing_is_done_without(tmp_path, monkeypatch, tiny_model):
    (tmp_path / "cache").write_text("a file")
    monkeypatch.setenv("MIO_LOCAL_CACHE", str(tmp_path / "cache"))
    pairs = load_pairs(written(tmp_path), SKIP)
    chat = Chat(load_tokenizer(ModelSettings(name=str(tiny_model))))
    assert encode(pairs, chat, SKIP).examples == [chat.encode(pair, SKIP.max_tokens) for pair in pairs]
    assert len(pairs) == 40


def test_tokens_are_kept_for_a_check_and_a_training_alike(cache, tmp_path, tiny_model, monkeypatch):
    file = written(tmp_path, [*ROWS, {"prompt": "same", "chosen": "b", "rejected": "b"}])
    chat = Chat(load_tokenizer(ModelSettings(name=str(tiny_model))))
    first = encode(load_pairs(file, SKIP), chat, SKIP, skipping=True)
    monkeypatch.setattr(Chat, "encode_all", None)
    second = encode(load_pairs(file, SKIP), chat, SKIP, skipping=True)
    assert second.examples == first.examples
    assert (second.left, second.skipped) == (first.left, first.skipped)
    assert list(second.skipped.values()) == [1]
    with pytest.raises(DataError, match=r"line 41: chosen and rejected become the same tokens"):
        encode(load_pairs(file, DataSettings()), chat, DataSettings())


@pytest.mark.parametrize("block", [7, 4096])
def test_the_digest_of_a_run_is_that_of_its_lists_of_tokens(cache, tmp_path, tiny_model, monkeypatch, block):
    """As runs of earlier versions wrote it down; of many examples the text is made at once."""
    monkeypatch.setattr(written_examples, "BLOCK", block)
    recipe = Recipe(data=DataSettings(source=written(tmp_path), eval_fraction=0.2))
    chat = Chat(load_tokenizer(ModelSettings(name=str(tiny_model))))
    for _ in ("made", "kept"):
        split = read_split(recipe, silent)
        tokens = tokenise(recipe, split, chat, silent)
        sha = hashlib.sha256()
        for pair in (*split.train, *split.held_out):
            example = chat.encode(pair, recipe.data.max_tokens)
            sha.update(repr((example.prompt, example.chosen, example.rejected)).encode())
        assert (len(split.train), len(split.held_out), tokens.digest) == (32, 8, sha.hexdigest())
