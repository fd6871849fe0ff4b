"""What becomes of a conversation in the templates that models are published with, beside `apply_chat_template`.

Each kind of conversation must be, in each template, the tokens of `apply_chat_template` up to the answer's end; or
those of the nearest conversation that the template can hold, told where a text is gone; or be refused in one line,
because of the template. `python tests/data/templating/test_published_templates.py` prints the table.
"""

import ast
import copy
import re
import sys
from collections import Counter
from collections.abc import Sequence
from datetime import datetime
from typing import Any

import pytest

from mio_local.data.pairs import Pair
from mio_local.data.template import Chat
from mio_local.errors import DataError
from mio_local.recipe import DataSettings
from tests.helpers.some import fast
from tests.helpers.templates import published, tokenizer_for

FILES = published()
USUAL = {"chatml", "gemma3", "llama3_1", "mistral-instruct", "qwen2.5-instruct", "qwen3", "gptoss", "deepseekv3",
         "phi3", "glm4moe"}.intersection(FILES)  # fmt: skip
DAY = datetime(2024, 7, 26, 12)
CLOCK = """{%- macro strftime_now(form) -%}
{{- {'%Y-%m-%d': '2024-07-26', '%d %b %Y': '26 Jul 2024'}[form] -}}
{%- endmacro -%}"""
Messages = list[dict[str, Any]]


def system(text: str) -> dict[str, Any]:
    return {"role": "system", "content": text}


def user(text: str) -> dict[str, Any]:
    return {"role": "user", "content": text}


def said(text: str, **more: Any) -> dict[str, Any]:
    return {"role": "assistant", "content": text, **more}


def call(town: str, text: str = "", **more: Any) -> dict[str, Any]:
    return said(text, **more, tool_calls=[{
        "type": "function", "id": "abcdefghi", "function": {"name": "get_rain", "arguments": {"town": town}},
    }])  # fmt: skip


def inside(thought: str, text: str) -> str:
    return f"<think>\n{thought}\n</think>\n\n{text}"


TOWN = {"town": {"type": "string", "description": "Which town"}}
RAIN = {"name": "get_rain", "description": "Rain of a town",
        "parameters": {"type": "object", "properties": TOWN, "required": ["town"]}}  # fmt: skip
TOOLS = [{"type": "function", "function": RAIN}]
RESULT = {"role": "tool", "content": "9 mm", "name": "get_rain", "tool_call_id": "abcdefghi"}
ASKED, RAINS = user("What is 3 plus 4?"), user("Rain in Ghent?")
TALK = [user("hello you"), said("hi there"), ASKED]
PIRATE = system("Be a pirate.")
KINDS: dict[str, tuple[Messages, Any, Any, Any]] = {
    "plain": ([ASKED], "It is 7.", "It is 8.", None),
    "spaces": ([ASKED], "  It is 7. \n\n", "\n\nIt is 8.", None),
    "system": ([PIRATE, ASKED], "It is 7.", "It is 8.", None),
    "turns": (TALK, "It is 7.", "It is 8.", None),
    "system, turns": ([PIRATE, *TALK], "It is 7.", "It is 8.", None),
    "thought beside": ([ASKED], [said("It is 7.", reasoning_content="count zz1")],
                       [said("It is 7.", reasoning_content="just guess")], None),
    "thought inside": ([ASKED], inside("count zz1", "It is 7."), inside("just guess", "It is 7."), None),
    "empty thought": ([ASKED], inside("", "It is 7."), inside("", "It is 8."), None),
    "blank thought": ([ASKED], [said("It is 7.", reasoning_content=" \n")], "It is 8.", None),
    "one thought": ([ASKED], inside("count zz1", "It is 7."), "It is 8.", None),
    "earlier thought": ([user("hello you"), said("hi there", reasoning_content="greet zz2"), ASKED],
                        [said("It is 7.", reasoning_content="count zz1")], "It is 8.", None),
    "earlier inside": ([user("hello you"), said(inside("greet zz2", "hi there")), ASKED], "It is 7.", "It is 8.", None),
    "tools": ([RAINS], "It rains.", "It is dry.", TOOLS),
    "earlier call": ([RAINS, call("Ghent"), RESULT], "It rains.", "It is dry.", TOOLS),
    "call": ([RAINS], [call("Ghent")], [call("Paris")], TOOLS),
    "call and text": ([RAINS], [call("Ghent", "Let me look.")], [call("Paris", "Let me look.")], TOOLS),
    "call and thought": ([RAINS], [call("Ghent", reasoning_content="count zz1")], [call("Paris")], TOOLS),
    "end inside": ([ASKED], "It is <|im_end|> 7.", "It is 8.", None),
}  # fmt: skip


class Oracle:
    """A template as transformers applies it, with arguments of its own, on a day of ours."""

    def __init__(self, text: str, arguments: dict[str, Any]) -> None:
        self.arguments = arguments
        self.known: dict[str, str] = {}
        self.text = CLOCK + text if "strftime_now" in text else text
        self.tokenizer = tokenizer_for(text)

    def _apply(self, messages: Messages, **options: Any) -> str:
        asked = repr((messages, options))
        if asked not in self.known:
            try:
                text: str = self.tokenizer.apply_chat_template(
                    messages, chat_template=self.text, tokenize=False, **self.arguments, **options
                )
            except Exception:  # as many kinds as templates
                text = ""
            self.known[asked] = text.lstrip() if text.lstrip().startswith("<s>") else text
        return self.known[asked]

    def text_of(self, messages: Messages, tools: Any = None, generate: bool = False) -> str:
        """The conversation; empty where the template refuses it."""
        if "zz9" not in self._apply([user("Q"), said("zz9")]):  # read as a list of parts alone, by models that see
            messages = [{**one, "content": [{"type": "text", "text": one["content"]}]} for one in messages]
        return self._apply(messages, tools=tools, add_generation_prompt=generate)

    def ids(self, text: str) -> list[int]:
        return self.tokenizer(text, add_special_tokens=False)["input_ids"]

    def read(self, ids: Sequence[int]) -> str:
        return self.tokenizer.decode(ids, skip_special_tokens=False, clean_up_tokenization_spaces=False)


    def takes_thoughts(self) -> bool:
        return "zz9" in self.text_of([user("Q"), said("A", reasoning_content="zz9")])


def merged(oracle: Oracle, prompt: Messages, answers: Messages) -> Messages:
    """The prompt with its system message put into a user's turn, where the template has no place for one: into the last
    turn where the template itself does so as long as no answer follows."""
    if prompt[0]["role"] != "system" or prompt[0]["content"] in oracle.text_of([*prompt, *answers]):
        return prompt
    rest = copy.deepcopy(prompt[1:])
    place = -1 if prompt[0]["content"] in oracle.text_of(prompt, generate=True) else 0
    rest[place]["content"] = f"{prompt[0]['content']}\n\n{rest[place]['content']}"
    return rest


def parted(oracle: Oracle, messages: Messages, tools: Any) -> Messages:
    """The same messages, thoughts inside the text beside it, where the template has a place for them and would not find
    them inside: then it writes more, or fewer, marks of thoughts."""
    found: Messages = []
    for one in messages:
        match = re.match(r"<think>\n(.*)\n</think>\n\n(.*)", one["content"], re.DOTALL)
        beside = {"reasoning_content": match[1]} if match and match[1] else {}
        found.append({**one, "content": match[2], **beside} if match else one)
    asked = [user("Q")]
    marks = [oracle.text_of([*asked, one]).count("</think>") for one in (
        said(inside("T", "A")), said("A", reasoning_content="T"))]  # fmt: skip
    return found if oracle.takes_thoughts() and marks[0] != marks[1] else messages


def wanted(oracle: Oracle, messages: Messages, tools: Any) -> str:
    """The text of a conversation as given, where the template holds the answer's thought; else with the thought where
    the template takes it; else with the thought put before the answer's text by hand."""
    messages = parted(oracle, messages, tools)
    text = oracle.text_of(messages, tools)
    *prompt, answer = messages
    found = re.match(r"<think>\n(.+)\n</think>\n\n(.*)", answer["content"], re.DOTALL)
    thought, rest = (found[1], found[2]) if found else (answer.get("reasoning_content"), answer["content"])
    if not (thought or "").strip():
        without = {key: value for key, value in answer.items() if key != "reasoning_content"}
        return text if oracle.takes_thoughts() else oracle.text_of([*prompt, without], tools)
    if thought in text:
        return text
    bare = {**answer, "content": rest, "reasoning_content": None}
    text = oracle.text_of([*prompt, {**bare, "content": inside(thought, rest)}], tools)
    if thought in text:
        return text
    before, _, after = oracle.text_of([*prompt, bare], tools).rpartition(rest)
    return before + inside(thought, rest) + after


def may_refuse(oracle: Oracle, messages: Messages, tools: Any) -> bool:
    """Whether the template itself refuses the conversation, or writes another, without tools or with another call,
    text or thought, the same; a thought that it has no place for stands in the text."""
    *prompt, answer = messages
    if (thought := answer.get("reasoning_content")) and thought not in oracle.text_of(messages, tools):
        messages = [*prompt, {**answer, "content": inside(thought, answer["content"])}]
    text = oracle.text_of(messages, tools)
    swaps = [("'town': 'Ghent'", "'town': 'Paris'"), ("Let me", "I will"), ("count", "reckon")]
    others = [repr(messages).replace(*swap) for swap in swaps]
    changed = [oracle.text_of(ast.literal_eval(other), tools) for other in others if other != repr(messages)]
    return not text or text in changed or (bool(tools) and text == oracle.text_of(messages))


def outcome(oracle: Oracle, chat: Chat, kind: str) -> str:
    """exact, told or refused; AssertionError or another word for all else."""
    prompt, *answers, tools = KINDS[kind]
    pair = Pair(prompt, *answers, "row 1", tools)
    sides: list[Messages] = [[said(answer)] if isinstance(answer, str) else answer for answer in answers]
    try:
        lost, example = chat.lost(pair), chat.encode(pair, 10_000)
    except DataError as error:
        rightly = any(may_refuse(oracle, [*prompt, *side], tools) for side in sides)
        return "refused" if rightly and re.fullmatch("row 1: .+", str(error)) else f"WRONG: {error}"
    asked = merged(oracle, prompt, sides[0])
    texts = [wanted(oracle, [*asked, *side], tools) for side in sides]
    given = [oracle.text_of([*prompt, *side], tools) for side in sides]
    opened = oracle.text_of(prompt, tools, generate=True) or oracle.text_of(asked, tools, generate=True)
    before = oracle.read(example.prompt)
    if all(text.startswith(opened) for text in texts):
        assert before == opened
    assert before.rstrip().rfind(asked[-1]["content"]) > 0
    for text, ids in zip(texts, (example.chosen, example.rejected), strict=True):
        same(oracle, text, example.prompt, ids)
    return "told" if lost or texts != given else "exact"


def same(oracle: Oracle, text: str, prompt: list[int], answer: list[int]) -> None:
    """Prompt and answer are the text's tokens up to and with the last one that ends a turn, or all of them and EOS."""
    whole = oracle.ids(text)
    ids = prompt + answer
    found, read = oracle.read(whole), oracle.read(ids)
    rest = found[len(read) :]
    if not found.startswith(read):
        assert read.endswith(oracle.tokenizer.eos_token), (found, read)
        assert read.removesuffix(oracle.tokenizer.eos_token) == found
    assert rest.strip() in ("", oracle.tokenizer.eos_token)  # which ends Phi's conversations, not its turns
    assert answer[-1] in oracle.tokenizer.added_tokens_decoder
    if whole[: len(prompt)] == prompt:  # no token merges across the border
        assert answer in (whole[len(prompt) :][: len(answer)], [*whole[len(prompt) :], oracle.tokenizer.eos_token_id])


def of(name: str, thoughts: Any = "keep", **arguments: Any) -> tuple[Oracle, Chat]:
    oracle = Oracle(FILES[name].read_text(encoding="utf-8"), arguments)
    settings = DataSettings(thoughts=thoughts, template_args=arguments)
    return oracle, Chat(oracle.tokenizer, str(FILES[name]), DAY.timestamp(), settings=settings)


@pytest.mark.parametrize("name", fast(FILES, USUAL))
def test_conversations_become_the_tokens_of_the_template_or_are_told_or_refused(name: str) -> None:
    oracle, chat = of(name)
    for kind in KINDS:
        assert outcome(oracle, chat, kind) in ("exact", "told", "refused"), kind


THINKING = [name for name, file in FILES.items() if "enable_thinking" in file.read_text("utf-8")]


@pytest.mark.parametrize("thinking", [False, True])
@pytest.mark.parametrize("name", fast(THINKING, USUAL.intersection(THINKING)))
def test_the_same_with_thinking_set(name: str, thinking: bool) -> None:
    oracle, chat = of(name, enable_thinking=thinking)
    for kind in KINDS:
        assert outcome(oracle, chat, kind) in ("exact", "told", "refused"), kind


@pytest.mark.parametrize("name", fast(FILES, USUAL))
def test_dropped_thoughts_leave_the_tokens_of_the_same_conversation_without(name: str) -> None:
    oracle, chat = of(name, "drop")
    talk = copy.deepcopy(TALK)
    talk[1] |= {"content": inside("greet zz2", "hi there")}
    first, second = inside("count zz1", "It is 7."), [said("It is 8.", reasoning_content="just guess")]
    found = chat.encode(Pair(talk, first, second, "row 1"), 10_000)
    wanted = of(name)[1].encode(Pair(TALK, "It is 7.", "It is 8.", "row 1"), 10_000)
    assert found == wanted
    assert not re.search("zz|guess", oracle.read(found.prompt + found.chosen + found.rejected))


def table() -> str:
    """Markdown: a row for each template, a column for each kind, and how many there are of each outcome."""
    totals: dict[str, Counter[str]] = {kind: Counter() for kind in KINDS}
    lines = ["| template | " + " | ".join(KINDS) + " |", "|---|" + "---|" * len(KINDS)]
    for name in FILES:
        oracle, chat = of(name)
        row: list[str] = []
        for kind in KINDS:
            try:
                row.append(outcome(oracle, chat, kind))
            except AssertionError as error:
                row.append("WRONG")
                print(f"{name}, {kind}: {error}", file=sys.stderr)
            totals[kind][row[-1]] += 1
        lines.append(f"| {name} | {' | '.join(row)} |")
    found = dict.fromkeys(key for count in totals.values() for key in count)
    counted = [f"| {one} | {' | '.join(str(totals[kind][one]) for kind in KINDS)} |" for one in found]
    return "\n".join([*lines, *counted])


if __name__ == "__main__":
    print(table())
