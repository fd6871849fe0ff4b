"""Pairs that no template frames: the prompt, and after it the answer."""

from typing import Literal

from mio_local.data.messages import Answer, BadRow, Message
from mio_local.data.pairs import Pair
from mio_local.data.templating.framing import Framed, Part, conversation
from mio_local.data.templating.rendering import Tools
from mio_local.data.templating.thoughts import without_thoughts, written_inside

REMEDY = ", and there is none; pass --template FILE.jinja"


def plain_frame(pair: Pair, thoughts: Literal["keep", "drop"]) -> Framed:
    """Raises BadRow for a pair that needs a template."""
    prompt = [Part(plain_text(pair.prompt, pair.where, pair.tools), False)]
    answers = tuple(
        [Part(_answer(answer, thoughts, pair.where), True)] if answer else [] for answer in pair.answers
    )
    return Framed(prompt, answers, ended=(False,) * len(answers), lost=[])


def plain_text(prompt: list[Message] | str, where: str, tools: Tools | None = None) -> str:
    """The text of a prompt: a text, or the only turn of a conversation. Raises BadRow."""
    if tools:
        raise BadRow(where, "tools need a chat template", REMEDY)
    if isinstance(prompt, str):
        return prompt
    if len(prompt) == 1:
        return prompt[0]["content"]
    raise BadRow(where, f"a conversation of {len(prompt)} messages needs a chat template",
                 f"{REMEDY} (or none, for Human/Assistant transcripts)")


def _answer(answer: Answer, thoughts: Literal["keep", "drop"], where: str) -> str:
    if isinstance(answer, str) and thoughts == "keep":
        return answer
    said = conversation(answer)
    if len(said) > 1 or said[0].get("tool_calls"):
        raise BadRow(where, "an answer of several messages, or with a tool call, needs a chat template", REMEDY)
    kept = without_thoughts(said) if thoughts == "drop" else [written_inside(said[0])]
    return kept[0]["content"]
