"""Random conversations in random templates: no text that the user gave is gone without a word."""

import copy
import functools
import json
import re
from dataclasses import replace
from typing import Any

import pytest

pytest.importorskip("hypothesis")
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from mio_local.data.pairs import Pair
from mio_local.data.template import Chat
from mio_local.errors import DataError
from tests.helpers.templates import tokenizer_for

BITS = [
    "the cat", "cat", "yes", "A", "12", "é🙂", "  ", "\n", "\n\n", "<think>", "</think>", "<think>\nhm\n</think>\n\n",
    "<|im_end|>", "{", "}", '{"a": 1}', '"', "\\", "{{ x }}", "{% if %}", "&lt;", "assistant", "user:",
    "mio-local-answer-7c1d04",
]  # fmt: skip
LINES = st.lists(st.sampled_from(BITS), min_size=1, max_size=4).map("".join)
TEXT = st.one_of(LINES, st.sampled_from(["the cat", "cat", "yes", "so?"])).filter(str.strip)
NAMES = st.sampled_from(["get_rain", "rain", "cat"])
VALUES = st.recursive(
    st.one_of(TEXT, st.integers(-9, 10_000), st.booleans(), st.none(), st.sampled_from([0.5, 1e-7])),
    lambda inner: st.one_of(st.lists(inner, max_size=2), st.dictionaries(NAMES, inner, max_size=2)), max_leaves=3,
)  # fmt: skip
# what a template does with each part of a conversation
SYSTEM = {
    "keeps": "{% set rest = messages %}",
    "drops": "{% set rest = messages[1:] if messages[0].role == 'system' else messages %}",
    "refuses": "{% if messages[0].role == 'system' %}{{ raise_exception('no system') }}{% endif %}"
               "{% set rest = messages %}",
    "last": "{% if messages[0].role == 'system' %}{% set sys = messages[0].content %}{% set rest = messages[1:] %}"
            "{% else %}{% set rest = messages %}{% endif %}",
}  # fmt: skip
OFFERED = {
    "ignores": "",
    "json": "{% if tools %}{{ tools | tojson }}\n{% endif %}",
    "functions": "{% for t in tools or [] %}{{ t.function | tojson(indent=2) }}\n{% endfor %}",
    "names": "{% for t in tools or [] %}{{ t.function.name }}: {{ t.function.description }}\n{% endfor %}",
}
CONTENT = {
    "plain": "m.content", "trims": "m.content | trim", "upper": "m.content | upper", "escapes": "m.content | e",
    "json": "m.content | tojson",
}  # fmt: skip
STRIPS = "(m.content.split('</think>') | last if m.role == 'assistant' else m.content)"
EARLIER = "(m.content.split('</think>') | last if m.role == 'assistant' and not loop.last else m.content)"
THOUGHT = {
    "ignores": "",
    "writes": "{% if m.reasoning_content %}<think>\n{{ m.reasoning_content }}\n</think>\n\n{% endif %}",
    "last": "{% if loop.last and m.reasoning_content %}<think>\n{{ m.reasoning_content | trim }}\n</think>\n\n"
            "{% endif %}",
    "own": "{% if m.reasoning_content %}<|thought|>{{ m.reasoning_content }}<|said|>{% endif %}",
}
CALLS = {
    "ignores": "",
    "json": "{% for c in m.tool_calls or [] %}<call>{{ c.function | tojson }}</call>{% endfor %}",
    "text": "{% for c in m.tool_calls or [] %}<call>{{ c.function.name + c.function.arguments }}</call>{% endfor %}",
    "items": "{% for c in m.tool_calls or [] %}{{ c.function.name }}({% for k, v in c.function.arguments.items() %}"
             "{{ k }}={{ v }},{% endfor %}){% endfor %}",
}  # fmt: skip
HEADS = ["<|im_start|>{{ m.role }}\n", "{{ m.role }}: ", "[{{ loop.index }}] {{ m.role }}\n"]
ENDS = ["<|im_end|>\n", "{{ eos_token }}", "\n"]
OPENS = ["<|im_start|>assistant\n", "", "assistant: ", "<|im_start|>assistant\n<think>\n"]


@functools.cache
def chat_tokenizer() -> Any:
    return tokenizer_for("<|thought|><|said|>")


@st.composite
def templates(draw: Any) -> str:
    def one_of(parts: Any) -> str:
        return draw(st.sampled_from(list(parts)))

    system, opens = one_of(SYSTEM), one_of(OPENS)
    shown = one_of(CONTENT.values()).replace("m.content", one_of(["m.content", STRIPS, EARLIER]))
    merged = "{% if loop.last and sys is defined and m.role == 'user' %}{{ sys }}\n\n{% endif %}"
    tool = one_of(["", "{% if m.role == 'tool' %}{{ raise_exception('no tool') }}{% endif %}"])
    return "".join([
        "{{ bos_token }}", SYSTEM[system], one_of(OFFERED.values()), "{% for m in rest %}", tool, one_of(HEADS),
        merged if system == "last" else "", one_of(THOUGHT.values()), "{{ " + shown + " }}", one_of(CALLS.values()),
        one_of(ENDS), "{% endfor %}{% if add_generation_prompt %}" + opens + "{% endif %}" if opens else "{% endfor %}",
    ])  # fmt: skip


def call(name: str, arguments: dict[str, Any]) -> dict[str, Any]:
    return {"type": "function", "id": "abcdefghi", "function": {"name": name, "arguments": arguments}}


CALLED = st.builds(call, NAMES, st.dictionaries(NAMES, VALUES, max_size=2))
THOUGHTS = st.one_of(st.none(), TEXT, st.sampled_from(["", "  \n"]))


@st.composite
def said(draw: Any) -> dict[str, Any]:
    message: dict[str, Any] = {"role": "assistant", "content": draw(TEXT)}
    if (thought := draw(THOUGHTS)) is not None:
        message["reasoning_content"] = thought
    if draw(st.integers(0, 3)) == 0:
        message |= {"tool_calls": draw(st.lists(CALLED, min_size=1, max_size=2)), "content": draw(st.sampled_from(
            ["", message["content"]]))}  # fmt: skip
    return message


@st.composite
def pairs(draw: Any) -> Pair:
    prompt: list[dict[str, Any]] = []
    if draw(st.booleans()):
        prompt.append({"role": "system", "content": draw(TEXT)})
    for _ in range(draw(st.integers(0, 2))):
        prompt += [{"role": "user", "content": draw(TEXT)}, draw(said())]
        if "tool_calls" in prompt[-1]:
            prompt.append({"role": "tool", "content": draw(TEXT), "name": "rain"})
            prompt.append({"role": "assistant", "content": draw(TEXT)})
    prompt.append({"role": "user", "content": draw(TEXT)})
    tools = [{"type": "function", "function": {
        "name": draw(NAMES), "description": draw(TEXT), "parameters": {"type": "object", "properties": {}},
    }}] if draw(st.integers(0, 2)) == 0 else None  # fmt: skip
    answers = draw(st.lists(st.one_of(TEXT, st.lists(said(), min_size=1, max_size=1)), min_size=2, max_size=4,
                            unique_by=str))  # fmt: skip
    text = len(prompt) == 1 and draw(st.booleans())
    chosen, rejected, *others = answers
    if not others and draw(st.integers(0, 4)) == 0:  # a labelled answer, which stands alone
        chosen, rejected = draw(st.sampled_from([(chosen, ""), ("", rejected)]))
    sampled = bool(others) and draw(st.booleans())
    rewards = tuple(map(float, range(len(answers)))) if sampled else ()
    asked = prompt[0]["content"] if text else prompt
    return Pair(asked, chosen, rejected, "row 1", tools, tuple(others), rewards, sampled)


def in_messages(pair: Pair) -> Pair:
    """The same pair, texts as messages."""
    asked, chosen, rejected, *others = (
        [{"role": role, "content": said}] if said and isinstance(said, str) else copy.deepcopy(said)
        for role, said in (("user", pair.prompt), *(("assistant", answer) for answer in pair.answers))
    )
    tools = copy.deepcopy(pair.tools)
    return replace(pair, prompt=asked, chosen=chosen, rejected=rejected, others=tuple(others), tools=tools)


def leaves(value: Any) -> list[str]:
    """The keys, texts and numbers in a JSON value."""
    if isinstance(value, dict):
        return [*value, *(leaf for each in value.values() for leaf in leaves(each))]
    if isinstance(value, list):
        return [leaf for each in value for leaf in leaves(each)]
    return [] if value is None or isinstance(value, bool) else [value if isinstance(value, str) else json.dumps(value)]


def places(pair: Pair, answer: Any) -> list[tuple[str, dict[str, Any], str]]:
    """(the word that tells of its loss, what holds it, under which key) for all texts of a pair in messages."""
    found: list[tuple[str, dict[str, Any], str]] = []
    for tool in pair.tools or []:
        found += [("tool", tool["function"], "name"), ("description of a tool", tool["function"], "description")]
    for number, message in enumerate([*pair.prompt, *answer]):
        role, earlier = message["role"], "earlier " if number < len(pair.prompt) else ""
        whose = f"an {earlier}answer"
        found.append((f"text of {whose}" if role == "assistant" else f"{role} message", message, "content"))
        if "reasoning_content" in message:
            found.append((f"thought of {whose}", message, "reasoning_content"))
        for each in message.get("tool_calls", []):
            found.append((f"{earlier}tool call", each["function"], "name"))
            found.append((f"{earlier}argument of a tool call", each["function"], "arguments"))
    return found


def texts(pair: Pair, answer: Any) -> list[tuple[set[str], str]]:
    """(the words that tell of its loss, a text) for all that the user gave, parted at the marks of thoughts."""
    found: list[tuple[set[str], str]] = []
    for kind, holder, key in places(pair, answer):
        for text in leaves(holder[key]) if key == "arguments" else [holder[key]]:
            while kind == "text of an answer" and text.rstrip().endswith("<|im_end|>"):  # which is not doubled
                text = text.rstrip().removesuffix("<|im_end|>")
            parts = re.split("</?think>", text) if key == "content" and "</think>" in text else [text]
            found += [({kind, kind.replace("text", "thought")} if len(parts) > 1 else {kind}, part) for part in parts]
    return [(kinds, text.strip()) for kinds, text in found if text.strip()]


def spellings(text: str) -> set[str]:
    return {text, json.dumps(text)[1:-1], json.dumps(text, ensure_ascii=False)[1:-1]}


FEW, MANY = (settings(max_examples=count, derandomize=True, database=None, deadline=None,
                      suppress_health_check=list(HealthCheck)) for count in (25, 150))  # fmt: skip


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    return tmp_path_factory.mktemp("random") / "random.jinja"


def encoded(file, template, pair):
    """(chat, kinds of lost text, example), or None where the pair is refused in one line."""
    file.write_text(template, "utf-8")
    try:
        chat = Chat(chat_tokenizer(), str(file), 0.0)
        return chat, chat.lost(pair), chat.encode(pair, 100_000)
    except DataError as error:
        if "\n" in str(error):
            raise
    return None


def check_every_text(file, template, pair):
    before = copy.deepcopy(pair)
    if not (found := encoded(file, template, pair)):
        return
    chat, lost, example = found
    assert pair == before
    assert all(scored > 0 for scored, ids in zip(example.scored_tokens, example.answers, strict=True) if ids)
    assert len(example.rewards) in (0, len(example.answers))
    told = in_messages(pair)
    assert [*map(bool, example.answers[:2])] == [*map(bool, told.answers[:2])]
    assert not told.sampled or len(example.answers) == len(told.answers)
    whole_ids = [example.prompt + ids for ids in example.answers]
    decoded = [chat.tokenizer.decode(ids, clean_up_tokenization_spaces=False) for ids in whole_ids]
    repeated = len(told.answers) - len(example.answers)
    for number, answer in enumerate(told.answers):
        for kinds, text in texts(told, answer) if answer else ():
            # an answer that became the tokens of another is that one, so which is whose is not known
            for whole in [" ".join(decoded)] if repeated else [decoded[number]]:
                assert kinds & {*lost} or any(one in whole for one in spellings(text)), (kinds, text, lost, whole)


@FEW
@given(template=templates(), pair=pairs())
def test_every_text_is_in_the_tokens_or_told_or_the_pair_is_refused(file, template, pair):
    check_every_text(file, template, pair)


@pytest.mark.slow
@MANY
@given(template=templates(), pair=pairs())
def test_every_text_of_many_pairs_is_there_or_told_or_refused(file, template, pair):
    check_every_text(file, template, pair)


def check_changed_text(file, template, pair, which):
    """A text that changes no token is told, however often the same text stands elsewhere; but for one that templates
    write, as a quotation mark."""
    assume(pair.chosen)
    other = in_messages(pair)
    changes = [one for one in places(other, other.chosen) if re.search("cat|yes|so|é", str(leaves(one[1][one[2]])))]
    assume(changes)
    kind, holder, key = changes[which % len(changes)]
    holder[key] = {**holder[key], "zq": "zq7"} if key == "arguments" else holder[key] + " zq7"
    if not (found := encoded(file, template, pair)) or not (changed := encoded(file, template, other)):
        return
    same = (found[2].prompt, found[2].chosen) == (changed[2].prompt, changed[2].chosen)
    assert not same or kind in found[1], (kind, holder[key], found[1])


@pytest.mark.slow
@FEW
@given(template=templates(), pair=pairs(), which=st.integers(0, 30))
def test_a_text_that_changes_no_token_is_told(file, template, pair, which):
    check_changed_text(file, template, pair, which)


@pytest.mark.slow
@MANY
@given(template=templates(), pair=pairs(), which=st.integers(0, 30))
def test_a_text_of_many_that_changes_no_token_is_told(file, template, pair, which):
    check_changed_text(file, template, pair, which)
