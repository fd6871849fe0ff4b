"""Answers that are good or bad by themselves, made pairs where a prompt has both."""

from collections import defaultdict, deque
from typing import Any

from mio_local.data.messages import BadRow, is_null
from mio_local.data.reading.cells import Cells, Made, Turns
from mio_local.data.reading.wanted import Wanted
from mio_local.text import kind_name, visible_line

GOOD = {"true": True, "1": True, "1.0": True, "false": False, "0": False, "0.0": False}


def make_unpaired(cells: Cells, columns: Cells, where: str, ranking: str, wanted: Wanted) -> Made:
    """A lone answer as both of a pair, so that it is read as every other; `Pairing` then joins two."""
    if "completion" not in columns:  # the answer ends a conversation
        return Made([{**cells, "prompt": None, "chosen": cells["prompt"], "rejected": cells["prompt"]}])
    return Made([{**cells, "chosen": cells["completion"], "rejected": cells["completion"]}])


def is_good(value: Any, column: str, where: str) -> bool:
    """What the label of an answer says: true or 1, false or 0. Raises BadRow for anything else."""
    if is_null(value) or value == "":
        raise BadRow(where, f"{column} is missing")
    said = str(value).strip().lower() if isinstance(value, bool | float | str) or value in (0, 1) else ""
    if said not in GOOD:
        shown = visible_line(value, 40) if isinstance(value, str) else kind_name(value)
        raise BadRow(where, f"{column} must be true or false, or 1 or 0", f", not {shown}")
    return GOOD[said]


class Pairing:
    """Joins the first good answer to a prompt with its first bad one, the second with the second, and so on."""

    def __init__(self) -> None:
        self._waiting: dict[str, deque[tuple[bool, Turns, str]]] = defaultdict(deque)
        self.joined = 0

    def add(self, key: str, turns: Turns, good: bool, where: str) -> tuple[Turns, str] | None:
        """The pair that an answer completes, and the places of both; None where it waits for another."""
        waiting = self._waiting[key]
        if not waiting or waiting[0][0] == good:
            waiting.append((good, turns, where))
            return None
        _, (prompt, other, *_), there = waiting.popleft()
        self.joined += 1
        answer = turns[1]
        return (prompt, answer if good else other, other if good else answer), f"{there} and {where}"

    @property
    def left(self) -> int:
        """Answers that wait still."""
        return sum(map(len, self._waiting.values()))
