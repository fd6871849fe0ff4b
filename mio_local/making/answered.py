"""A prompt with the answers that were drawn to it: what a judge is given."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from mio_local.data.messages import Answer, Message


@dataclass(frozen=True)
class Asked:
    """A prompt: a message list that ends with the user's, or the text itself. `known` is the answer that the data has
    beside it, where there is one; `row` holds the source's own columns; `where` names the source: `train.jsonl line 7`.
    `ids` are the tokens that it is asked with, once they are known.
    """

    prompt: list[Message] | str
    known: Answer | None
    where: str
    row: dict[str, Any] = field(default_factory=dict)
    tools: list[dict[str, Any]] | None = None
    ids: list[int] = field(default_factory=list[int])


@dataclass(frozen=True)
class Answered:
    """A prompt and its K drawn answers as texts. `cut` tells which of them stopped at the token limit."""

    asked: Asked
    answers: tuple[str, ...]
    cut: tuple[bool, ...]


FIRST = " (the first: "  # between a reason and its first message
Rewards = tuple[float | None, ...]  # one for each answer, the higher the better; None where the judge gave none


@dataclass(frozen=True)
class Judged:
    """What a judge said of a chunk's prompts. `unjudged` is how many of their answers got no reward, `dropped` how many
    comparisons of them decided nothing, both by the reason."""

    rewards: list[Rewards]
    unjudged: dict[str, int] = field(default_factory=dict[str, int])
    dropped: dict[str, int] = field(default_factory=dict[str, int])


class Judge(Protocol):
    """Who rewards answers.

    `threshold` is the reward from which on an answer is right, None where there is no right and wrong. `kind` is
    "answers", or "pairs" where `pairs` says which pairs an answered prompt could make, the best first.
    """

    name: str
    threshold: float | None
    kind: str
    unjudged: dict[str, int]  # as in `Judged`, since it was cleared
    dropped: Counter[str]

    def judge(self, answered: Sequence[Answered]) -> list[Rewards]:
        """The rewards of each prompt's answers."""
        ...

    def pairs(self, answered: Sequence[Answered], rewards: Sequence[Rewards]) -> list[list[tuple[Answer, Answer]]]:
        """(chosen, rejected) that each prompt could make, the best first."""
        ...

    def close(self) -> None:
        """End its processes."""
        ...
