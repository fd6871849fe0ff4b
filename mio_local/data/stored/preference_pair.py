"""A preference pair, or a group: a prompt with more answers than two, with rewards, or with one answer alone."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from mio_local.data.messages import Answer, Message


@dataclass(frozen=True, slots=True)
class Pair:
    """One prompt with a chosen and a rejected answer, and the `others` that are rejected too.

    `prompt` is a message list that ends with the user's or a tool's, or the text itself. An answer that is a text is
    the content of one plain assistant message (a conversation), or what follows the prompt (a text pair); an answer
    that is a list is one message or several, the last an assistant's, with thoughts or tool calls among them.
    `where` names the source: `train.jsonl line 7`. `tools` are the schemas of what the assistant may call.
    An empty text is no answer: a labelled one stands alone. `rewards` has one for each of `answers`, or is empty.
    Of answers that are `sampled` none is better by its place: they stand in the order that they were drawn in.
    """

    prompt: list[Message] | str
    chosen: Answer
    rejected: Answer
    where: str
    tools: list[dict[str, Any]] | None = None
    others: tuple[Answer, ...] = ()
    rewards: tuple[float, ...] = ()
    sampled: bool = False

    @property
    def answers(self) -> tuple[Answer, ...]:
        """The chosen, the rejected and the others."""
        return self.chosen, self.rejected, *self.others

    @property
    def is_group(self) -> bool:
        """Whether there is more, or less, to it than a chosen and a rejected answer."""
        return bool(self.others or self.rewards or self.sampled or not (self.chosen and self.rejected))


def names_of(answers: int, rewards: Sequence[float], *, sampled: bool) -> list[str]:
    """What the answers of a group are called: chosen, rejected, rejected 2, ..., or of sampled ones answer 1, answer 2,
    ...; each with its reward where they have rewards."""
    names = ["chosen", "rejected", *(f"rejected {number}" for number in range(2, answers))]
    if sampled:
        names = [f"answer {number}" for number in range(1, answers + 1)]
    return [f"{name}, reward {reward:.4g}" for name, reward in zip(names, rewards, strict=True)] if rewards else names


def prompt_key(prompt: list[Message] | str) -> str:
    """A text that is the same for the same prompt, or for the same answer."""
    return prompt if isinstance(prompt, str) else json.dumps(prompt, sort_keys=True, ensure_ascii=False)
