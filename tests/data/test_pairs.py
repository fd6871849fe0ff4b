import json
import random

import pytest

from mio_local.data.pairs import Pair, Pairs, held_out_source, load_pairs, prompt_key, split_by_prompt
from mio_local.data.tokenise import read_split
from mio_local.errors import DataError
from mio_local.progress import silent
from mio_local.recipe import DataSettings, Recipe

GOOD = {"prompt": "q", "chosen": "a", "rejected": "b"}


def write(tmp_path, *rows):
    path = tmp_path / "train.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return str(path)


def test_load(tmp_path):
    pairs = load_pairs(write(tmp_path, GOOD, {**GOOD, "prompt": "q2"}), DataSettings())
    assert pairs == [Pair("q", "a", "b", "train.jsonl line 1"), Pair("q2", "a", "b", "train.jsonl line 2")]
    assert (pairs.layout, pairs.rows, pairs.skipped, pairs.problem) == ("text", 2, {}, "")


def test_bad_row_stops(tmp_path):
    source = write(tmp_path, GOOD, {**GOOD, "chosen": " "})
    with pytest.raises(DataError) as caught:
        load_pairs(source, DataSettings())
    assert str(caught.value) == "train.jsonl line 2: chosen is empty; repair it, or --set data.bad_rows=skip"


def test_bad_rows_are_skipped_and_counted_by_reason(tmp_path):
    bad = [{**GOOD, "chosen": ""}, {**GOOD, "chosen": 1}, {**GOOD, "chosen": 2}, {"prompt": "q"}]
    pairs = load_pairs(write(tmp_path, GOOD, *bad, GOOD), DataSettings(bad_rows="skip"))
    assert [pair.where for pair in pairs] == ["train.jsonl line 1", "train.jsonl line 6"]
    assert pairs.skipped == {"chosen is empty": 1, "chosen must be text, not a number": 2, "chosen is missing": 1}
    assert pairs.rows == 6
    assert pairs.problem == "train.jsonl line 2: chosen is empty"


def test_a_fault_after_the_rows_used_for_detection(tmp_path):
    with pytest.raises(DataError, match=r"train\.jsonl line 301: rejected must be text, not a number \(42\)"):
        load_pairs(write(tmp_path, *[GOOD] * 300, {**GOOD, "rejected": 42}), DataSettings())


def test_no_pair_left(tmp_path):
    with pytest.raises(DataError, match=r"none of its 1 rows is a pair; the first: .* line 1: chosen is empty"):
        load_pairs(write(tmp_path, {**GOOD, "chosen": ""}), DataSettings(bad_rows="skip"))


def test_limit_counts_pairs(tmp_path):
    source = write(tmp_path, {**GOOD, "chosen": ""}, *[GOOD] * 9)
    pairs = load_pairs(source, DataSettings(limit=3, bad_rows="skip"))
    assert [pair.where for pair in pairs] == [f"train.jsonl line {line}" for line in (2, 3, 4)]


def test_system_and_columns(tmp_path):
    source = write(tmp_path, {"q": "hi", "chosen": "a", "rejected": "b"})
    pairs = load_pairs(source, DataSettings(columns={"prompt": "q"}, system="be"))
    assert pairs[0].prompt == [{"role": "system", "content": "be"}, {"role": "user", "content": "hi"}]
    assert pairs.columns == {"prompt": "q", "chosen": "chosen", "rejected": "rejected"}


def test_transcripts_are_texts_when_no_template_is_asked_for(tmp_path):
    talk = "\n\nHuman: hi\n\nAssistant:"
    source = write(tmp_path, {"chosen": talk + " a", "rejected": talk + " b"})
    assert load_pairs(source, DataSettings(template="none"))[0] == Pair(talk, " a", " b", "train.jsonl line 1")
    assert load_pairs(source, DataSettings())[0].prompt == [{"role": "user", "content": "hi"}]


def made(prompts, each=3):
    return pairs_of(Pair(f"p{p}", f"a{i}", "b", f"line {p} {i}") for p in range(prompts) for i in range(each))


def pairs_of(pairs):
    return Pairs(pairs, "text", {}, 0, {})


@pytest.mark.parametrize(
    ("prompts", "fraction", "held"),
    [(100, 0.05, 5), (100, 0.0, 0), (10, 0.01, 1), (2, 0.9, 1), (1, 0.5, 0), (40, 0.5, 20)],
)
def test_split_holds_out_whole_prompts(prompts, fraction, held):
    train, out = split_by_prompt(made(prompts), fraction, 0)
    assert len({pair.prompt for pair in out}) == held
    assert not {pair.prompt for pair in out} & {pair.prompt for pair in train}
    assert len(train) + len(out) == prompts * 3


def test_split_depends_on_the_seed_and_not_on_the_order():
    pairs = made(50)
    shuffled = pairs_of(random.Random(1).sample(list(pairs), len(pairs)))
    _, held = split_by_prompt(pairs, 0.1, 0)
    assert {pair.where for pair in split_by_prompt(shuffled, 0.1, 0)[1]} == {pair.where for pair in held}
    assert split_by_prompt(pairs, 0.1, 1)[1] != held
    assert sorted({pair.prompt for pair in held}) == ["p19", "p26", "p40", "p45", "p7"]  # the same on any machine


def test_real_data(shared):
    gsm8k = load_pairs(str(shared / "data/gsm8k"), DataSettings())
    assert (len(gsm8k), len({prompt_key(pair.prompt) for pair in gsm8k}), gsm8k.layout) == (2032, 611, "text")
    assert len(load_pairs(str(shared / "data/gsm8k"), DataSettings(), split="valid")) == 397
    talks = load_pairs(str(shared / "data/sharegpt/dpo_en_demo.json"), DataSettings())
    assert (len(talks), talks.layout, talks.skipped) == (299, "sharegpt", {})
    assert {message["role"] for pair in talks for message in pair.prompt} == {"system", "user", "assistant"}


def test_a_folder_holds_its_own_pairs_out(tmp_path):
    for name, rows in (("train", [GOOD, GOOD]), ("valid", [{**GOOD, "prompt": "other"}]), ("test", [GOOD])):
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    folder = str(tmp_path)
    data = DataSettings(source=folder)
    assert held_out_source(data) == (folder, "valid")
    split = read_split(Recipe(data=data), silent)
    assert [pair.where for pair in split.train] == ["train.jsonl line 1", "train.jsonl line 2"]
    assert [pair.where for pair in split.held_out] == ["valid.jsonl line 1"]
    assert held_out_source(DataSettings(source=folder, eval_source="a", eval_split="b")) == ("a", "b")
    for other in (DataSettings(source=folder, split="test"), DataSettings(source=f"{folder}/train.jsonl")):
        assert held_out_source(other) == ("", "")
