"""Columns inside columns, messages written as text, answers that repeat the prompt; with values written out."""

import csv
import json

import pyarrow
import pyarrow.parquet
import pytest

from mio_local.data.pairs import load_pairs
from mio_local.errors import DataError
from mio_local.recipe import DataSettings
from tests.helpers.layout_rows import HH, TALK, bot, user
from tests.helpers.loading import fault, load, turns

TEXT = {"prompt": "q", "chosen": "a", "rejected": "b"}


def test_a_dot_leads_into_a_column(tmp_path):
    columns = {"prompt": "ask.text", "chosen": "answers.0", "rejected": "answers.1.text"}
    row = {"ask": {"text": "q"}, "answers": ["a", {"text": "b"}], "id": 7}
    pairs = load(tmp_path, row, columns=columns)
    assert (turns(pairs), pairs.columns, pairs.unused) == ([("q", "a", "b")], columns, ["id"])
    pairs = load(tmp_path, {**row, "ask.text": "own"}, columns=columns)
    assert (pairs[0].prompt, pairs.unused) == ("own", ["ask", "id"])
    assert "rejected (answers.1.text) is missing" in fault(tmp_path, row, {**row, "answers": ["a"]}, columns=columns)
    assert "no column ask.txt (nearest: " in fault(tmp_path, row, columns={**columns, "prompt": "ask.txt"})


TALKS = {"prompt": TALK, "chosen": [bot("it's \"good\"")], "rejected": [bot("bad\n")]}
AS_TEXT = [json.dumps, str, lambda value: json.dumps(value, indent=1), lambda value: f"  {value}\n"]


@pytest.mark.parametrize("write", AS_TEXT)
@pytest.mark.parametrize("kind", ["jsonl", "csv", "parquet", "json"])
def test_messages_written_as_text(tmp_path, write, kind):
    rows = [{column: write(value) for column, value in TALKS.items()}] * 2
    file = tmp_path / f"f.{kind}"
    if kind == "csv":
        with file.open("w", newline="", encoding="utf-8") as out:
            writer = csv.DictWriter(out, list(TALKS))
            writer.writeheader()
            writer.writerows(rows)
    elif kind == "parquet":
        pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), file)
    else:
        file.write_text(json.dumps(rows) if kind == "json" else "".join(json.dumps(row) + "\n" for row in rows))
    assert turns(load_pairs(str(file), DataSettings())) == [(TALK, "it's \"good\"", "bad\n")] * 2


def test_a_text_with_brackets_is_a_text(tmp_path):
    row = {"prompt": "[1, 2] sorted?", "chosen": "[{\"a\": 1}]", "rejected": "{'role of a': 1}"}
    assert turns(load(tmp_path, row)) == [tuple(row.values())]


NUMPY = "[{'role': 'user', 'content': 'q'}\n {'role': 'assistant', 'content': 'a'}]"


@pytest.mark.parametrize("text", [NUMPY, f"array({NUMPY}, dtype=object)", "[{'role': 'user', 'content': 'cut of"])
@pytest.mark.parametrize("prompt", [{"prompt": "q"}, {}])
def test_messages_that_nothing_reads(tmp_path, text, prompt):
    told = fault(tmp_path, {**prompt, "chosen": text, "rejected": text})
    assert "f.jsonl: chosen looks like messages written as text; write them as JSON" in told
    assert "--columns" not in told


@pytest.mark.parametrize("value", ["-" * 90_000 + "1", "1+" * 90_000 + "1", "(" * 300 + ")" * 300, "[" * 90_000])
def test_a_repr_that_python_cannot_hold(tmp_path, value):
    text = f"[{{'role': 'user', 'content': {value}}}]"
    assert "looks like messages written as text" in fault(tmp_path, {"prompt": "q", "chosen": text, "rejected": text})


def test_messages_in_a_column_of_texts_are_refused_by_row(tmp_path):
    rows = [TEXT, TEXT, {**TEXT, "chosen": json.dumps([bot("a")])}]
    assert "f.jsonl line 3: chosen looks like messages written as text" in fault(tmp_path, *rows)


ASKED = "Question: What is 3 plus 4?\nAnswer: "


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        ({"prompt": ASKED, "chosen": f"{ASKED}7.", "rejected": f"{ASKED}8."}, (ASKED, "7.", "8.")),
        ({"prompt": HH, "chosen": f"{HH} good", "rejected": f"{HH} bad"}, (TALK, "good", "bad")),
        ({"instruction": "q?", "input": "x", "chosen": "q?\nx good", "rejected": "q?\nx bad"},
         ("q?\nx", " good", " bad")),
    ],
)  # fmt: skip
def test_answers_that_begin_with_their_prompt(tmp_path, row, expected):
    pairs = load(tmp_path, row, row)
    assert turns(pairs) == [expected] * 2
    assert pairs.cut_prompts_in_answers == 2
    if "prompt" in row:
        (pair,) = load(tmp_path, row, template="none")
        assert (pair.prompt, pair.prompt + str(pair.chosen)) == (row["prompt"], row["chosen"])


@pytest.mark.parametrize(
    "row",
    [
        {"prompt": ASKED, "chosen": f"{ASKED}7.", "rejected": "8."},
        {"prompt": ASKED, "chosen": f"{ASKED}7.", "rejected": ASKED},
        {"prompt": "Hi", "chosen": "Hi there", "rejected": "Hi!"},
    ],
)
def test_answers_that_only_seem_to(tmp_path, row):
    pairs = load(tmp_path, TEXT, TEXT, row)
    assert turns(pairs)[2] == tuple(row.values())
    assert pairs.cut_prompts_in_answers == 0


@pytest.mark.parametrize(
    ("row", "prompt", "unused"),
    [
        ({**TEXT, "context": "c"}, "c\n\nq", []),
        ({"question": "q", "chosen": "a", "rejected": "b", "context": "c", "system_message": "be"},
         [{"role": "system", "content": "be"}, user("c\n\nq")], []),
        ({**TEXT, "context": ["c"]}, "q", ["context"]),
        ({**TEXT, "context": "c", "messages": TALK}, "q", ["context", "messages"]),
        ({"prompt": TALK, "chosen": "a", "rejected": "b", "context": "c"}, TALK, ["context"]),
    ],
)  # fmt: skip
def test_context(tmp_path, row, prompt, unused):
    pairs = load(tmp_path, row)
    assert (pairs[0].prompt, pairs.unused) == (prompt, unused)
    assert ("context" in pairs.columns) == (not unused)


def test_real_cases(shared):
    cases = shared / "cases" / "data"
    for name in ("messages_as_text/d_repr.csv", "messages_as_text/d2_repr_implicit.csv",
                 "messages_as_text/e_jsonstr.jsonl", "messages_as_text/e2_jsonstr_obj.jsonl",
                 "openai_and_swift/k_openai.jsonl", "openai_and_swift/y2_messages_rejected_swift.jsonl",
                 "chosen_holds_prompt/g_chosen_has_prompt.jsonl"):  # fmt: skip
        pairs = load_pairs(str(cases / name), DataSettings())
        assert (len(pairs), pairs[0].chosen, pairs[0].rejected) == (4, "It is 7.", "It is 8."), name
        assert "What is 3 plus 4?" in str(pairs[0].prompt)
    for name, words in (("r6_bigint", "line 1: a number of more than"), ("r7_deep", "line 1: lists and objects nes")):
        with pytest.raises(DataError, match=words):
            load_pairs(str(cases / "raw_tracebacks" / f"{name}.jsonl"), DataSettings())
