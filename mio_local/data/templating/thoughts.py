"""Thoughts of answers: beside the text (`reasoning_content`) or inside it (`<think>...</think>`), kept or dropped."""

import re
from collections.abc import Sequence

from mio_local.data.messages import Message

# a model that was made to begin with <think> answers without it
INLINE = re.compile(
    r"\A\s*(?:<think>(?P<whole>.*?)</think>|\[THINK\](?P<mistral>.*?)\[/THINK\]"
    r"|(?P<open>(?:(?!<think>).)*?)</think>)\s*", re.DOTALL,
)


def inline_thought(content: str) -> tuple[str | None, str]:
    """(the thought that a text begins with, None where there is none, the text after it)."""
    found = INLINE.match(content) if "</think>" in content or "[/THINK]" in content else None
    if not found:
        return None, content
    return next(thought for thought in found.groups() if thought is not None), content[found.end() :]


def thought_of(message: Message) -> str:
    """The thought of a message, wherever it stands; empty where there is none."""
    beside = message.get("reasoning_content") or ""
    return beside or inline_thought(message["content"])[0] or ""


def without_thoughts(messages: Sequence[Message]) -> list[Message]:
    """The same messages, their thoughts left out."""
    kept: list[Message] = []
    for message in messages:
        if message["role"] == "assistant":
            bare = {key: value for key, value in message.items() if key != "reasoning_content"}
            message = {**bare, "content": inline_thought(message["content"])[1]}
        kept.append(message)
    return kept


def written_inside(message: Message) -> Message:
    """A thought that stands beside the text put before it, as `<think>`; for templates without a place for it."""
    thought = message.get("reasoning_content") or ""
    if not thought.strip():
        return message
    bare = {key: value for key, value in message.items() if key != "reasoning_content"}
    return {**bare, "content": f"<think>\n{thought.strip()}\n</think>\n\n{message['content']}"}


def put_beside(message: Message) -> Message:
    """A thought that stands inside an answer put beside it, an empty one left out; for templates that have a place of
    their own for it."""
    if message["role"] != "assistant" or message.get("reasoning_content"):
        return message
    thought, rest = inline_thought(message["content"])
    if thought is None:
        return message
    bare = {**message, "content": rest}
    return {**bare, "reasoning_content": thought.strip()} if thought.strip() else bare
