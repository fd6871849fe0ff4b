"""Two answers, and a column that says which is better: by number, by name, by sign, or by a column each."""

import re
from typing import Any

from mio_local.data.formats.written_values import written
from mio_local.data.messages import BadRow, NoPreference, is_null
from mio_local.data.reading.cells import Cells, Made
from mio_local.data.reading.wanted import Wanted
from mio_local.text import kind_name, visible_line

SIGNED = ("overall_preference", "preference_strength")  # HelpSteer: below 0 the first is better
TIES = {"neither", "equal", "same", "draw"}


def make_from_two(cells: Cells, columns: Cells, where: str, ranking: str, wanted: Wanted) -> Made:
    """The better answer as chosen. Raises NoPreference for a tie, BadRow where it is not clear which is better."""
    first = _first_is_better(cells, columns, where)
    answers = [cells["answer_a"], cells["answer_b"]]
    prompt = cells.get("prompt")
    if "winner_b" in columns and (talk := _turn_lists(prompt, *answers)):  # lmsys' lists of turns
        prompt, *answers = talk
    chosen, rejected = answers if first else answers[::-1]
    return Made([{**cells, "prompt": prompt, "chosen": chosen, "rejected": rejected}])


def _first_is_better(cells: Cells, columns: Cells, where: str) -> bool:
    column, value = columns["winner"], cells["winner"]
    if is_null(value) or value == "":
        raise BadRow(where, f"{column} is missing")
    if "winner_b" in columns:
        return _by_columns(cells, columns, where)
    said = _number(value)
    if column in SIGNED:
        if said is None:
            raise BadRow(where, f"{column} must be a number", f", not {_shown(value)}")
        if said == 0:
            raise NoPreference(where, f"{column} is 0: neither answer is better")
        return said < 0
    if columns["answer_a"] == "human_ref_A" and column == "labels":  # SHP: 1 where A is better
        if said not in (0, 1):
            raise BadRow(where, f"{column} must be 1 (A is better) or 0", f", not {_shown(value)}")
        return said == 1
    return _by_name(value, column, (columns["answer_a"], columns["answer_b"]), where)


def _by_name(value: Any, column: str, answers: tuple[str, str], where: str) -> bool:
    """By the answer's column, or by what sets its name apart: `response_1`, `1`, `a`, `model_a`."""
    number = None if isinstance(value, str | bool) else _number(value)
    name = str(int(number)) if number is not None and number == int(number) else str(value).strip().lower()
    names = [_names(answer) for answer in answers]
    if not isinstance(value, bool):
        for first, known in zip((True, False), names, strict=True):
            if name in known:
                return first
    if name in TIES or name.startswith(("tie", "both")):
        raise NoPreference(where, f"{column} is a tie")
    told = " or ".join(min(known, key=len) for known in names)
    raise BadRow(where, f"{column} does not name an answer", f" ({_shown(value)}; known are {told}, and tie)")


def _names(answer: str) -> set[str]:
    answer = answer.lower()
    found = re.search(r"(\d+|(?<=[_.-])[a-z])$", answer)
    return {answer, *((found[0], f"model_{found[0]}") if found else ())}


def _by_columns(cells: Cells, columns: Cells, where: str) -> bool:
    """By a column for each outcome, of which one has 1."""
    roles = [role for role in ("winner", "winner_b", "tie") if role in columns]
    said = [_number(cells[role]) == 1 for role in roles]
    if sum(said) != 1:
        raise BadRow(where, f"of {', '.join(columns[role] for role in roles)} one must be 1")
    if said[2:] == [True]:
        raise NoPreference(where, f"{columns['tie']} is 1: neither answer is better")
    return said[0]


def _turn_lists(prompt: Any, *answers: Any) -> tuple[Any, Any, Any] | None:
    """Lists of turns, or their JSON text, as prompt and answers: the turns before the last question are one talk."""
    lists = [written(value) if isinstance(value, str) else value for value in (prompt, *answers)]
    if not all(isinstance(turns, list) and turns and len(turns) == len(lists[0]) for turns in lists):
        return None
    asked, *said = lists
    talks = [
        [{"role": role, "content": "" if text is None else text}
         for question, answer in zip(asked, one, strict=True)
         for role, text in (("user", question), ("assistant", answer))]
        for one in said
    ]  # fmt: skip
    return None, talks[0], talks[1]


def _number(value: Any) -> float | None:
    try:
        return float(value)
    except (TypeError, ValueError, OverflowError):
        return None


def _shown(value: Any) -> str:
    if isinstance(value, str | bool | float) or (isinstance(value, int) and abs(value) < 1e9):
        return visible_line(str(value), 40)
    return kind_name(value)
