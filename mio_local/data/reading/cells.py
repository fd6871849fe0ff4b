"""The cells of a row by role, and what is read from them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mio_local.data.messages import Answer, Message, text_of
from mio_local.data.parts.bad_row import is_null

PAIR = ("chosen", "rejected")
Cells = Mapping[str, Any]  # a row's values by role
Turns = tuple[list[Message] | str, Answer, Answer]  # prompt, chosen answer, rejected answer


@dataclass(frozen=True)
class Made:
    """The cells of the pairs that one row makes, and how many comparisons in it nobody decided."""

    cells: Sequence[Cells]
    undecided: int = 0


def optional_text(cells: Cells, role: str, where: str) -> str:
    """The text of a cell that may be missing or blank."""
    value = cells.get(role)
    if is_null(value) or (isinstance(value, str) and not value.strip()):
        return ""
    return text_of(value, role, where)
