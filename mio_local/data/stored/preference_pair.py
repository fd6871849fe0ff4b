"""A preference pair."""

import json
from dataclasses import dataclass
from typing import Any

from mio_local.data.messages import Answer, Message


@dataclass(frozen=True, slots=True)
class Pair:
    """One prompt with a chosen and a rejected answer.

    `prompt` is a message list that ends with the user's or a tool's, or the text itself. An answer that is a text is
    the content of one plain assistant message (a conversation), or what follows the prompt (a text pair); an answer
    that is a list is one message or several, the last an assistant's, with thoughts or tool calls among them.
    `where` names the source: `train.jsonl line 7`. `tools` are the schemas of what the assistant may call.
    """

    prompt: list[Message] | str
    chosen: Answer
    rejected: Answer
    where: str
    tools: list[dict[str, Any]] | None = None


def prompt_key(prompt: list[Message] | str) -> str:
    """A text that is the same for the same prompt, or for the same answer."""
    return prompt if isinstance(prompt, str) else json.dumps(prompt, sort_keys=True, ensure_ascii=False)
