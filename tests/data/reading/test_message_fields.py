"""Tool calls, thoughts and parts of messages, and what of them is not used; the values expected are written out."""

import json

import pytest

from mio_local.data.pairs import load_pairs
from mio_local.errors import DataError
from mio_local.recipe import DataSettings
from tests.helpers.layout_rows import bot, user

ASK = {"prompt": [user("q")], "chosen": [bot("a")], "rejected": [bot("b")]}
NAMED = {"name": "f", "arguments": {"x": 1}}
CALL = {"type": "function", "function": NAMED}
TOOL = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}


def load(tmp_path, *rows, **settings):
    file = tmp_path / "f.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return load_pairs(str(file), DataSettings(**settings))


def fault(tmp_path, *rows):
    with pytest.raises(DataError) as caught:
        load(tmp_path, *rows)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("field", ["reasoning_content", "reasoning", "thinking", "thought"])
def test_thoughts(tmp_path, field):
    (pair,) = load(tmp_path, {**ASK, "chosen": [{**bot("a"), field: "hm"}]})
    assert pair.chosen == [{"role": "assistant", "content": "a", "reasoning_content": "hm"}]
    assert pair.rejected == "b"
    (pair,) = load(tmp_path, {**ASK, "chosen": [{**bot("a"), field: None}], "rejected": [{**bot("b"), field: ""}]})
    assert (pair.chosen, pair.rejected) == ("a", "b")


@pytest.mark.parametrize(
    "part", [{"type": "thinking", "thinking": "hm"}, {"type": "reasoning", "text": "hm"}, {"type": "reasoning",
                                                                                          "reasoning": "hm"}]
)  # fmt: skip
def test_thoughts_among_the_parts(tmp_path, part):
    (pair,) = load(tmp_path, {**ASK, "chosen": [bot([part, {"type": "text", "text": "a"}])]})
    assert pair.chosen == [{"role": "assistant", "content": "a", "reasoning_content": "hm"}]
    (pair,) = load(tmp_path, {**ASK, "chosen": [bot([part])]})
    assert pair.chosen == [{"role": "assistant", "content": "", "reasoning_content": "hm"}]


@pytest.mark.parametrize(
    "message",
    [
        {**bot(None), "tool_calls": [CALL]},
        {**bot(""), "tool_calls": [{"type": "function", "id": None, "function": {**NAMED, "arguments": '{"x": 1}'}}]},
        {**bot(None), "tool_calls": [{**CALL, "function": {**NAMED, "arguments": {"x": 1, "of another row": None}}}]},
        {**bot(None), "tool_calls": json.dumps([CALL])},
        {**bot(None), "function_call": {**NAMED, "arguments": '{"x": 1}'}},
        {"from": "function_call", "value": json.dumps(NAMED)},
        {"role": "tool_call", "content": json.dumps(NAMED)},
    ],
)
def test_tool_calls(tmp_path, message):
    (pair,) = load(tmp_path, {**ASK, "chosen": [message]})
    assert pair.chosen == [{"role": "assistant", "content": "", "tool_calls": [CALL]}]


@pytest.mark.parametrize("role", ["tool", "function", "observation", "ipython", "tool_response"])
def test_what_a_tool_said_may_end_a_prompt(tmp_path, role):
    prompt = [user("q"), {**bot(""), "tool_calls": [CALL]}, {"role": role, "content": "7", "tool_call_id": "1"}]
    (pair,) = load(tmp_path, {**ASK, "prompt": prompt})
    assert pair.prompt == [*prompt[:2], {"role": "tool", "content": "7", "tool_call_id": "1"}]
    (pair,) = load(tmp_path, {"chosen": [*prompt, bot("a")], "rejected": [*prompt[:1], bot("b")]})
    assert (pair.prompt, pair.rejected) == ([user("q")], "b")
    assert pair.chosen == [prompt[1], {"role": "tool", "content": "7", "tool_call_id": "1"}, bot("a")]


@pytest.mark.parametrize("tools", [[TOOL], TOOL, json.dumps([TOOL]), [json.dumps(TOOL)], str([TOOL]),
                                   [{**TOOL, "strict": None}]])  # fmt: skip
@pytest.mark.parametrize("column", ["tools", "functions"])
def test_tools(tmp_path, tools, column):
    pairs = load(tmp_path, {**ASK, column: tools})
    assert (pairs[0].tools, pairs.columns["tools"], pairs.unused) == ([TOOL], column, [])


@pytest.mark.parametrize("tools", [None, [], "", "[]", float("nan")])
def test_no_tools(tmp_path, tools):
    assert load(tmp_path, {**ASK, "tools": tools}, {**ASK, "tools": [TOOL]})[0].tools is None


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"prompt": [{**user("q"), "tool_calls": [CALL]}]}, "prompt has a tool call by the user"),
        ({"chosen": [{**bot("a"), "tool_calls": [1]}]}, "chosen has a tool call that is no object (but a number)"),
        ({"chosen": [{"from": "function_call", "value": "f(1)"}]}, "chosen has a function call that is not JSON"),
        ({"chosen": [{**bot("a"), "thinking": "x", "reasoning": "y"}]}, "chosen has a message with two thoughts"),
        ({"chosen": [{**bot("a"), "thinking": ["x"]}]}, "chosen has a thought that is not text (a list)"),
        ({"tools": ["calculator"]}, "tools has a schema that is no object; --columns tools= leaves the column out"),
        ({"prompt": [user([{"type": "audio"}])]}, "prompt has a part that is not text (audio)"),
        ({"images": ["a.png"]}, "images: pictures are not trained on here; remove the column to train on the text"),
        ({"video": "a.mp4"}, "video: films are not trained on here"),
        ({"prompt": [user("<image>q")], "images": []}, "prompt has <image>, and images is empty"),
    ],
)
def test_what_is_refused(tmp_path, values, words):
    assert words in fault(tmp_path, ASK, {**ASK, **values})


def test_empty_columns_of_pictures_are_no_pictures(tmp_path):
    rows = [{**ASK, "images": empty} for empty in (None, [], "", [None])]
    pairs = load(tmp_path, *rows)
    assert (len(pairs), pairs.unused) == (4, [])


def test_nothing_vanishes_without_a_word(tmp_path):
    extra = {"note": "x", "empty": None, "blank": "", "score_chosen": 4.5}
    pairs = load(tmp_path, {**ASK, "chosen": [{**bot("a"), "weight": 0, "mask": None}], **extra}, {**ASK, "late": 1})
    assert pairs.unused == ["note", "score_chosen", "late", "chosen[].weight"]


def test_null_and_nan_are_nothing(tmp_path):
    for nothing in (None, float("nan"), ""):
        (pair,) = load(tmp_path, {**ASK, "prompt": [{"role": "system", "content": nothing}, user("q")]})
        assert pair.prompt == [user("q")]
        text = {"instruction": "q", "chosen": "a", "rejected": "b"}
        more = {"input": nothing, "history": nothing, "context": nothing, "system": nothing, "system_prompt": nothing}
        assert load(tmp_path, {**text, **more})[0].prompt == "q"
    assert "input must be text, not a number (inf)" in fault(
        tmp_path, {**text, "input": "x"}, {**text, "input": float("inf")}
    )


def test_real_cases(shared):
    cases = shared / "cases" / "data"
    for name in ("null_nan/j2_nan_system", "null_nan/j_null_system"):
        pairs = load_pairs(str(cases / f"{name}.jsonl"), DataSettings())
        assert pairs[0].prompt in ("What is 3 plus 4?", [user("What is 3 plus 4?")])
        assert (len(pairs), pairs[0].chosen, pairs[0].rejected) == (4, "It is 7.", "It is 8.")
    tools = load_pairs(str(cases / "ignored_columns" / "i_tools.jsonl"), DataSettings())[0].tools
    assert tools is not None
    assert tools[0]["function"]["name"] == "get_rain"
    for name in ("h_images", "h2_images_prompt"):
        with pytest.raises(DataError, match="images: pictures are not trained on here"):
            load_pairs(str(cases / "ignored_columns" / f"{name}.jsonl"), DataSettings())
