"""A prompt with the answers that were drawn to it: what a judge is given."""

from dataclasses import dataclass, field
from typing import Any

from mio_local.data.messages import Answer, Message


@dataclass(frozen=True)
class Asked:
    """A prompt: a message list that ends with the user's, or the text itself. `known` is the answer that the data has
    beside it, where there is one; `row` holds the source's own columns; `where` names the source: `train.jsonl line 7`.
    """

    prompt: list[Message] | str
    known: Answer | None
    where: str
    row: dict[str, Any] = field(default_factory=dict)
    tools: list[dict[str, Any]] | None = None


@dataclass(frozen=True)
class Answered:
    """A prompt and its K drawn answers as texts. `cut` tells which of them stopped at the token limit."""

    asked: Asked
    answers: tuple[str, ...]
    cut: tuple[bool, ...]


Rewards = tuple[float | None, ...]  # one for each answer, the higher the better; None where the judge gave none
