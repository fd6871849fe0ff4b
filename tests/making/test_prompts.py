"""Prompts of any layout of pairs, and of those that have no pairs, with the known answers beside them."""

import json

import pytest

from mio_local.data.tokenise import chat_of
from mio_local.errors import DataError
from mio_local.making.prompts import askable, prompt_ids, read_prompts
from mio_local.recipe import DataSettings, ModelSettings
from tests.helpers.layout_rows import ROWS, bot, system, user

DATA = DataSettings()


def written(tmp_path, *rows):
    file = tmp_path / "prompts.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return str(file)


@pytest.mark.parametrize(("layout", "row", "prompt"), [row for row in ROWS if not row[0].startswith("unpaired")])
def test_a_row_of_every_layout_of_pairs(layout, row, prompt, tmp_path):
    [asked] = read_prompts(written(tmp_path, row), DATA).asked
    assert (asked.prompt, str(asked.known).strip()) == (prompt, "good") or asked.known == [bot("good")]
    assert asked.row == row


TALK = [user("q1"), bot("a1"), user("q2")]


@pytest.mark.parametrize(
    ("row", "prompt", "known"),
    [
        ({"prompt": "q"}, "q", None),
        ({"question": "q", "answer": "#### 12", "level": 3}, "q", "#### 12"),
        ({"question": "q", "answer": 12}, "q", "12"),
        ({"problem_id": 1, "prompt": "q", "solution": "s"}, "q", "s"),
        ({"instruction": "q", "input": "x", "output": "a"}, "q\nx", "a"),
        ({"instruction": "q", "input": "", "output": "a"}, "q", "a"),
        ({"prompt": "q", "completion": "a"}, "q", "a"),
        ({"messages": TALK}, TALK, None),
        ({"messages": [*TALK, bot("a2")]}, TALK, "a2"),
        ({"prompt": TALK, "answer": "a"}, TALK, "a"),
        ({"prompt": "q", "system": "be"}, [system("be"), user("q")], None),
        ({"prompt": "q", "chosen": "a"}, "q", "a"),
    ],
)
def test_prompts_without_pairs(row, prompt, known, tmp_path):
    [asked] = read_prompts(written(tmp_path, row), DATA).asked
    assert (asked.prompt, asked.known, asked.row, asked.where) == (prompt, known, row, "prompts.jsonl line 1")


def test_named_columns(tmp_path):
    file = written(tmp_path, {"task": {"text": "q"}, "truth": "a", "prompt": "no"})
    [asked] = read_prompts(file, DataSettings(columns={"prompt": "task.text", "completion": "truth"})).asked
    assert (asked.prompt, asked.known) == ("q", "a")


def test_a_text_has_a_prompt_a_line(tmp_path):
    (tmp_path / "prompts.txt").write_text("\ufeffone\u2028still\n\n two \r\n", encoding="utf-8")
    found = read_prompts(str(tmp_path / "prompts.txt"), DATA).asked
    assert [(one.prompt, one.where) for one in found] == [
        ("one\u2028still", "prompts.txt line 1"), ("two", "prompts.txt line 3")]  # fmt: skip


def test_repeated_ones_are_asked_once_and_the_limit_counts_those_asked(tmp_path):
    rows = [{"prompt": text} for text in ("a", "b", "a", "b", "c", "d")]
    found = read_prompts(written(tmp_path, *rows), DATA, 3)
    assert ([one.prompt for one in found.asked], found.repeated) == (["a", "b", "c"], 2)


def test_a_faulty_row_is_named_or_skipped(tmp_path):
    file = written(tmp_path, {"prompt": "a"}, {"prompt": " "})
    with pytest.raises(DataError, match=r"prompts.jsonl line 2: prompt is empty.*bad_rows=skip"):
        read_prompts(file, DATA)
    found = read_prompts(file, DataSettings(bad_rows="skip"))
    assert (len(found.asked), found.skipped) == (1, {"prompt is empty": 1})


@pytest.mark.parametrize(("row", "told"), [({"number": 1}, "--columns prompt=NAME"), ({"prompt": 3}, "prompt")])
def test_rows_without_a_prompt(row, told, tmp_path):
    with pytest.raises(DataError, match=told):
        read_prompts(written(tmp_path, row), DATA)


def test_a_prompt_that_leaves_no_room_is_told_or_skipped(tmp_path, tiny_model):
    file = written(tmp_path, {"prompt": "a"}, {"prompt": "b" * 100})
    for choice in ("error", "skip"):
        data = DataSettings(max_tokens=64, long_prompt=choice, system="S")
        chat = chat_of(ModelSettings(name=str(tiny_model)), data, tiny_model)
        prompts = read_prompts(file, data)
        if choice == "error":
            with pytest.raises(DataError, match=r"line 2: its prompt has \d+ tokens.*long_prompt=skip"):
                askable(prompts, chat)
            continue
        found = askable(prompts, chat)
        assert (len(found.asked), found.skipped) == (1, {"prompt is too long": 1})
        text = chat.tokenizer.decode(prompt_ids(chat, found.asked[0]))
        assert text == "<|im_start|>system\nS<|im_end|>\n<|im_start|>user\na<|im_end|>\n<|im_start|>assistant\n"
