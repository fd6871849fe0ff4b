"""Recognising the layout of a dataset from its columns, and reading its rows by it."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mio_local.data.layouts import LAYOUTS, PAIR, Layout, Turns, optional_text
from mio_local.data.messages import BadRow, Message, is_transcript, kind_of, text_of
from mio_local.data.rows import Row
from mio_local.errors import DataError, nearest
from mio_local.text import kind_name

# The first spelling that a dataset has is taken, so a more telling name stands before a vaguer one.
SYNONYMS: dict[str, tuple[str, ...]] = {
    "prompt": (
        "prompt", "question", "instruction", "messages", "conversations", "conversation", "query", "input", "context",
    ),
    "chosen": ("chosen", "chosen_response", "response_chosen", "accepted", "preferred", "better", "good"),
    "rejected": ("rejected", "rejected_response", "response_rejected", "dispreferred", "worse", "bad"),
    "answers": ("output",),
    "system": ("system", "system_prompt"),
    "input": ("input",),
    "history": ("history",),
}  # fmt: skip
ALIASES = {"messages": "prompt", "conversations": "prompt", "instruction": "prompt", "output": "answers"}
KIND_NAMES = {
    "text": "text", "transcript": "text", "messages": "a list of messages", "message": "one message",
    "texts": "a list of texts",
}  # fmt: skip
OPTIONAL = ("input", "history", "system")
BESIDE_INSTRUCTION = ("answers", "input", "history")  # roles that their columns' names mean beside an instruction alone


class ColumnsError(DataError):
    """Columns that make no pair; `found` are those that the source has."""

    def __init__(self, message: str, found: Sequence[str]) -> None:
        super().__init__(message)
        self.found = found


@dataclass(frozen=True)
class Match:
    """The layout of a dataset, the column that plays each role, and all the columns found."""

    layout: Layout
    columns: Mapping[str, str]
    found: Sequence[str]

    def read(self, row: Row, *, text: bool = False, system: str = "") -> Turns:
        """Prompt, chosen and rejected answer of a row, after `system` where the row has no system message of its own.

        Raises `BadRow` naming the row and what is wrong with it.
        """
        cells = {role: row.values.get(column) for role, column in self.columns.items()}
        for role, kind in self.layout.kinds.items():
            if kind != "none" and role not in OPTIONAL:
                _check(cells[role], kind, self._shown(role), row.where)
        prompt, chosen, rejected = self.layout.read(cells, row.where, text)
        return with_system(prompt, optional_text(cells, "system", row.where) or system), chosen, rejected

    def _shown(self, role: str) -> str:
        column = self.columns[role]
        return column if column == role or role in ("prompt", "answers") else f"{role} ({column})"


def _check(value: Any, kind: str, role: str, where: str) -> None:
    found = kind_of(value)
    if found == "null":
        raise BadRow(where, f"{role} is missing")
    if found == "empty":
        raise BadRow(where, f"{role} is empty")
    if kind in ("text", "transcript"):
        text_of(value, role, where)
    elif found != kind:
        raise BadRow(where, f"{role} must be {KIND_NAMES[kind]}, not {KIND_NAMES.get(found) or kind_name(value)}")


def with_system(prompt: list[Message] | str, system: str) -> list[Message] | str:
    """The prompt after a system message, where it has none of its own."""
    if not system or (not isinstance(prompt, str) and prompt[0]["role"] == "system"):
        return prompt
    turns = [{"role": "user", "content": prompt}] if isinstance(prompt, str) else prompt
    return [{"role": "system", "content": system}, *turns]


def detect(rows: Sequence[Row], columns: Mapping[str, str], source: str) -> Match:
    """The layout of `rows` (the first few hundred of a dataset), with `columns` as role -> column where given.

    Raises `ColumnsError` that lists the columns found and proposes the nearest one.
    """
    found = list(dict.fromkeys(column for row in rows for column in row.values))
    kinds = {column: _column_kind(column, rows) for column in found}
    roles = _roles(columns, found, kinds, source)
    role_kinds = {role: kinds[column] for role, column in roles.items()}
    if "prompt" in roles:
        for role in PAIR:  # only a dataset without a prompt column has transcripts for answers
            role_kinds[role] = role_kinds.get(role, "none").replace("transcript", "text")
    for fits in (_same, _unclear):  # the second names what is wrong with a row, where no column has the right kind
        for layout in LAYOUTS:
            if all(fits(role_kinds.get(role, "none"), kind) for role, kind in layout.kinds.items()):
                return Match(layout, roles, found)
    raise ColumnsError(f"{source}: {_no_layout(roles, role_kinds, found)}", found)


def _same(found: str, kind: str) -> bool:
    return found == kind


def _unclear(found: str, kind: str) -> bool:
    return found == kind or (kind != "none" and found in ("other", "null"))


def _column_kind(column: str, rows: Sequence[Row]) -> str:
    """The commonest kind of cell that is not null."""
    values = [row.values.get(column) for row in rows]
    counts = Counter("transcript" if is_transcript(value) else kind_of(value) for value in values)
    del counts["null"], counts["empty"]
    return counts.most_common(1)[0][0] if counts else "null"


def _roles(
    columns: Mapping[str, str], found: Sequence[str], kinds: Mapping[str, str], source: str
) -> dict[str, str]:
    roles: dict[str, str] = {}
    named: set[str] = set()
    for given, column in columns.items():
        role = ALIASES.get(given, given)
        if role not in SYNONYMS:
            raise ColumnsError(f"--columns {given}={column}: no such role{nearest(given, SYNONYMS)}; "
                               f"roles are {', '.join(SYNONYMS)}", found)
        if column and column not in found:
            raise ColumnsError(f"{source}: no column {column}{nearest(column, found)} for {given}; "
                               f"found {', '.join(found)}", found)
        named.add(role)
        if column:
            roles[role] = column
    for role, spellings in SYNONYMS.items():
        free = [name for name in spellings if name in found and name not in roles.values()]
        if role in named or not free:
            continue
        if role == "prompt":
            usable = [name for name in free if kinds[name] in ("text", "transcript", "messages", "message")]
            filled = [name for name in free if kinds[name] != "null"]
            if usable or filled:
                roles[role] = (usable or filled)[0]
        elif role not in BESIDE_INSTRUCTION or roles.get("prompt") == "instruction":
            roles[role] = free[0]
    return roles


def _no_layout(roles: Mapping[str, str], kinds: Mapping[str, str], found: Sequence[str]) -> str:
    listed = f"found {', '.join(found) or 'no columns'}"
    for role in ("chosen", "rejected", "prompt"):
        if role not in roles:
            close = nearest(role, [column for column in found if column not in roles.values()])
            name = close.removeprefix(" (nearest: ").removesuffix(")") or "NAME"
            tail = f"; {close[2:-1]}" if close else ""
            return f"no column for {role} ({listed}{tail}); name it with --columns {role}={name}"
    shapes = ", ".join(f"{roles[role]} is {KIND_NAMES.get(kinds[role], kinds[role])}" for role in roles)
    return f"no known layout has these columns ({shapes}); known: " + "; ".join(layout.shows for layout in LAYOUTS)
