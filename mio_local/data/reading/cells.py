"""The cells of a row by role, and what is read from them."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from mio_local.data.messages import Answer, Message, text_of
from mio_local.data.parts.bad_row import is_null

PAIR = ("chosen", "rejected")
OTHERS, REWARDS = "others", "rewards"  # of cells that were made a group: answers rejected too, one reward for each
Cells = Mapping[str, Any]  # a row's values by role
# prompt, chosen answer, rejected answer, other answers that are rejected
Turns = tuple[list[Message] | str, Answer, Answer, *tuple[Answer, ...]]


@dataclass(frozen=True)
class Made:
    """The cells of the pairs or groups that one row makes, how many comparisons in it nobody decided, and how many of
    its answers are left out, by reason."""

    cells: Sequence[Cells]
    undecided: int = 0
    left: Counter[str] = field(default_factory=Counter[str])


def sides(cells: Cells) -> list[tuple[str, Any]]:
    """The answers, each after its role: the chosen one, the rejected one, and the others, which are rejected too."""
    return [*((role, cells[role]) for role in PAIR), *(("rejected", other) for other in cells.get(OTHERS, ()))]


def turns_of(prompt: list[Message] | str, answers: Sequence[Answer]) -> Turns:
    """A prompt with its answers, of which there are two at least."""
    return prompt, answers[0], answers[1], *answers[2:]


def optional_text(cells: Cells, role: str, where: str) -> str:
    """The text of a cell that may be missing or blank."""
    value = cells.get(role)
    if is_null(value) or (isinstance(value, str) and not value.strip()):
        return ""
    return text_of(value, role, where)
