import pytest

from mio_local.data.detect import detect
from mio_local.data.layouts import LAYOUTS
from mio_local.data.messages import BadRow, transcript_turns
from mio_local.data.rows import Row
from mio_local.errors import DataError
from tests.helpers.layout_rows import HH, ROWS, TALK, UNPAIRED, bot, system, user


def read(values, columns=None, text=False, others=()):
    rows = [Row(row, f"f.jsonl line {line}") for line, row in enumerate((values, *others), 1)]
    return detect(rows, columns or {}, "f.jsonl").read(rows[0], text=text)


@pytest.mark.parametrize(("name", "values", "prompt"), ROWS)
def test_layout(name, values, prompt):
    match = detect([Row(values, "f.jsonl line 1")], {}, "f.jsonl")
    assert match.layout.name == name
    assert match.read(Row(values, "f.jsonl line 1")) == (prompt, "good", "bad")


def test_every_layout_has_a_row_here():
    assert {layout.name for layout in LAYOUTS} == {name for name, _, _ in ROWS} | {name for name, _ in UNPAIRED}


def test_default_system_message():
    row = Row(ROWS[0][1], "f.jsonl line 1")
    match = detect([row], {}, "f.jsonl")
    assert match.read(row, system="be")[0] == [system("be"), user("q")]


def test_kinds_are_judged_over_many_rows():
    values = {"instruction": "q", "input": "x", "chosen": "good", "rejected": "bad"}
    assert read({**values, "input": None}, others=[values] * 3) == ("q", "good", "bad")


@pytest.mark.parametrize(
    ("text", "prompt", "answer"),
    [
        (" yes", HH, "yes"),
        ("yes", HH, "yes"),
        ("  two spaces kept  ", HH, " two spaces kept  "),
        (" Assistant: is a word\nAssistant: here too", HH, "Assistant: is a word\nAssistant: here too"),
        (" ünïcode 🙂\n\nnew paragraph\n", HH, "ünïcode 🙂\n\nnew paragraph\n"),
        (" a\n\nHuman: after the answer", HH, "a\n\nHuman: after the answer"),
    ],
)
def test_transcript_answers_lose_nothing(text, prompt, answer):
    values = {"chosen": prompt + text, "rejected": prompt + " other"}
    messages, chosen, rejected = read(values)
    assert (messages, chosen, rejected) == (TALK, answer, "other")
    plain = read(values, text=True)
    assert plain[0] + plain[1] == values["chosen"]
    assert plain[0] + plain[2] == values["rejected"]


@pytest.mark.parametrize(
    "text",
    [HH + " a", HH, "Human: q\n\nAssistant:\n\nHuman:x\n\nAssistant: ", "no turn", "a\n\nAssistant: b", "",
     "\n\nHuman: a\n\n\nAssistant: b", "\n\nHuman: \n\nHuman:  b\n\nAssistant:  c "],
)  # fmt: skip
def test_turns_joined_are_the_transcript(text):
    assert "".join(marker + said for marker, said in transcript_turns(text)) == text


MESSAGES = {"prompt": [user("q")], "chosen": [bot("good")], "rejected": [bot("bad")]}
TEXT = {"prompt": "q", "chosen": "good", "rejected": "bad"}


@pytest.mark.parametrize(
    ("values", "fault"),
    [
        ({**TEXT, "chosen": " \n"}, "chosen is empty"),
        ({**TEXT, "prompt": ""}, "prompt is empty"),
        ({**TEXT, "rejected": None}, "rejected is missing"),
        ({**TEXT, "rejected": 42}, "rejected must be text, not a number (42)"),
        ({**TEXT, "rejected": True}, "rejected must be text, not true or false (True)"),
        ({**TEXT, "rejected": [bot("bad")]}, "rejected must be text, not a list"),
        ({**TEXT, "rejected": "\ud800"}, "rejected is not Unicode text (half a surrogate pair at 0)"),
        ({**TEXT, "system": 5}, "system must be text, not a number (5)"),
        ({**MESSAGES, "chosen": []}, "chosen is empty"),
        ({**MESSAGES, "chosen": "good"}, "chosen must be a list of messages, not text"),
        ({**MESSAGES, "chosen": [bot("good"), user("q")]}, "chosen ends with a user message, not with an assistant's"),
        ({**MESSAGES, "chosen": [bot(" ")]}, "chosen is empty"),
        ({**MESSAGES, "chosen": [bot(None)]}, "chosen has an assistant message without text (null)"),
        ({**MESSAGES, "chosen": [user("other"), bot("good")]}, "chosen is a conversation that does not hold the"),
        ({**MESSAGES, "prompt": [user("q"), bot("a")]}, "prompt ends with an assistant message; it must end with"),
        ({**MESSAGES, "prompt": [user("q"), {"role": "tool", "content": None}]}, "prompt has a tool message without"),
        ({**MESSAGES, "prompt": [{"role": "judge", "content": "x"}]}, "prompt has a turn by 'judge'; known are system"),
        ({**MESSAGES, "prompt": [{"from": "function_call", "value": "x"}]}, "prompt has a function call that is not"),
        ({**MESSAGES, "prompt": [{**user("q"), "tool_calls": [1]}]}, "prompt has a tool call"),
        ({**MESSAGES, "prompt": [user([{"type": "image"}])]}, "prompt has a part that is not text (image)"),
    ],
)
def test_bad_rows_name_line_and_fault(values, fault):
    good = TEXT if isinstance(values["prompt"], str) else MESSAGES
    with pytest.raises(BadRow) as caught:
        read(values, others=[good, good])
    assert str(caught.value).startswith("f.jsonl line 1: ")
    assert fault in str(caught.value)


@pytest.mark.parametrize(
    ("values", "fault"),
    [
        ({"chosen": HH + " a", "rejected": HH[:-10] + "?\n\nAssistant: b"}, "differ before the last Assistant: turn"),
        ({"chosen": HH + " ", "rejected": HH + " b"}, "chosen is empty"),
        ({"chosen": "Hi" + HH + " a", "rejected": "Hi" + HH + " b"}, "has text before its first Human:"),
        ({"chosen": [*TALK, bot("a")], "rejected": [user("other"), bot("a1"), user("q2"), bot("b")]},
         "chosen and rejected differ before the first answer (at message 1)"),
        ({"chosen": [*TALK, bot("a")], "rejected": [user("q1"), bot("a1")]},
         "chosen and rejected differ before the last answer (at message 2)"),
        ({"chosen": [bot("a")], "rejected": [bot("b")]}, "chosen has an answer alone; there is no prompt column"),
        ({"instruction": "q", "output": ["one"]}, "output must be two texts, chosen and rejected (found 1)"),
        ({"instruction": "q", "history": [["a"]], "chosen": "a", "rejected": "b"}, "history must be a list of"),
    ],
)  # fmt: skip
def test_bad_rows_of_other_layouts(values, fault):
    whole = next(row for name, row, _ in ROWS if name == "hh-rlhf")
    good = {key: whole.get(key) for key in values} if isinstance(values.get("chosen"), str) else values
    with pytest.raises(BadRow, match=r"f\.jsonl line 1: ") as caught:
        read(values, others=[good] * 2 if "instruction" not in values else ())
    assert fault in str(caught.value)


@pytest.mark.parametrize(
    ("values", "columns", "fault"),
    [
        ({"prompt": "q", "choosen": "a", "rejected": "b"}, {},
         "no column for chosen (found prompt, choosen, rejected; nearest: choosen); "
         "name it with --columns chosen=choosen"),
        ({"text": "q"}, {}, "no column for chosen (found text)"),
        ({"chosen": "a", "rejected": "b"}, {}, "no column for prompt (found chosen, rejected)"),
        (TEXT, {"chosen": "chossen"}, "no column chossen (nearest: chosen) for chosen; found prompt, chosen, rejected"),
        (TEXT, {"chosn": "chosen"}, "--columns chosn=chosen: no such role (nearest: chosen)"),
        ({"prompt": "q", "chosen": [bot("a")], "rejected": "b"}, {}, "no known layout has these columns"),
    ],
)  # fmt: skip
def test_wrong_columns(values, columns, fault):
    with pytest.raises(DataError) as caught:
        read(values, columns)
    assert fault in str(caught.value)
    assert "\n" not in str(caught.value)


def test_named_columns_win():
    values = {"ask": "q", "chosen": "a", "yes": "good", "no": "bad", "prompt": "other"}
    assert read(values, {"prompt": "ask", "chosen": "yes", "rejected": "no"}) == ("q", "good", "bad")
    assert read({"talk": TALK, "chosen": bot("good"), "rejected": bot("bad")}, {"messages": "talk"})[0] == TALK
