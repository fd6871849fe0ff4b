"""Prompts of any layout of pairs, and of those that have no pairs, with the known answers beside them."""

import json

import pytest

from mio_local.data.pairs import load_pairs
from mio_local.data.tokenise import chat_of
from mio_local.errors import DataError
from mio_local.making.prompts import askable, prompt_ids, read_prompts
from mio_local.recipe import DataSettings, ModelSettings
from tests.helpers.layout_rows import ROWS, bot, system, user
from tests.helpers.tiny_model import CHATML

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


def asked_with(tiny_model, file, **data):
    """The chat and what is asked with it, of prompts that leave eight tokens."""
    settings = DataSettings(**data)
    chat = chat_of(ModelSettings(name=str(tiny_model)), settings, tiny_model)
    return chat, askable(read_prompts(file, settings), chat, 8)


@pytest.mark.parametrize("choice", ["skip", "cut"])
def test_a_prompt_that_leaves_no_room_is_told_skipped_or_cut(choice, tmp_path, tiny_model):
    file = written(tmp_path, {"prompt": "a"}, {"prompt": "b" * 100 + "c"})
    with pytest.raises(DataError, match=r"line 2: its prompt has \d+ tokens.*long_prompt=skip or =cut"):
        asked_with(tiny_model, file, max_tokens=64)
    chat, found = asked_with(tiny_model, file, max_tokens=64, long_prompt=choice, system="S")
    texts = [chat.tokenizer.decode(prompt_ids(chat, one)) for one in found.asked]
    assert texts[0] == "<|im_start|>system\nS<|im_end|>\n<|im_start|>user\na<|im_end|>\n<|im_start|>assistant\n"
    if choice == "skip":
        assert (len(texts), found.skipped) == (1, {"prompt is too long": 1})
        assert found.told() == ["1 prompts skipped: prompt is too long"]
        return
    assert len(prompt_ids(chat, found.asked[1])) == 64 - 8
    assert texts[1].endswith("bbbc<|im_end|>\n<|im_start|>assistant\n")
    assert found.told() == ["1 prompts cut at their start, as --set data.long_prompt=cut says"]


CALL = {"type": "function", "function": {"name": "weather", "description": "of a town", "parameters": {}}}
WITH_TOOLS = "{% for tool in tools or [] %}{{ tool | tojson }}{% endfor %}"


def test_tools_are_in_the_tokens_that_a_prompt_is_asked_with(tmp_path, tiny_model):
    file = written(tmp_path, {"prompt": "q", "chosen": "a", "rejected": "b", "tools": [CALL]})
    with pytest.raises(DataError, match=r"line 1.*the chat template writes no tools"):
        asked_with(tiny_model, file)
    with pytest.raises(DataError, match=r"line 1.*tools need a chat template"):
        asked_with(tiny_model, file, template="none")
    template = tmp_path / "tools.jinja"
    template.write_text(WITH_TOOLS + CHATML, encoding="utf-8")
    chat, found = asked_with(tiny_model, file, template=str(template))
    text = chat.tokenizer.decode(prompt_ids(chat, found.asked[0]))
    assert json.loads(text[: text.index("<|im_start|>")]) == CALL
    trained = chat.encode(load_pairs(file, chat.settings)[0], 1024)
    assert trained.prompt == list(prompt_ids(chat, found.asked[0]))
