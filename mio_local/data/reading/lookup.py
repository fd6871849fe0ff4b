"""Values of a row by a column's name, which may lead into a column: `input.messages`, `answers.0`."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

MISSING = object()


def reader(column: str, found: Iterable[str]) -> Callable[[Mapping[str, Any]], Any]:
    """What gets a column's value from a row, None where the row has none. A column that is named so itself wins."""
    if column in found or "." not in column:
        return lambda values: values.get(column)
    return lambda values: None if (value := nested(values, column)) is MISSING else value


def nested(values: Any, name: str) -> Any:
    """What a name with dots leads to: a key of an object, an index of a list; MISSING where it leads nowhere."""
    if isinstance(values, Mapping) and name in values:
        return values[name]
    head, dot, rest = name.partition(".")
    while dot:
        if isinstance(values, Mapping) and head in values:
            return nested(values[head], rest)
        if isinstance(values, list) and head.isdecimal():
            return nested(values[int(head)], rest) if int(head) < len(values) else MISSING
        more, dot, rest = rest.partition(".")
        head = f"{head}.{more}"
    if isinstance(values, list) and name.isdecimal() and int(name) < len(values):
        return values[int(name)]
    return MISSING


def top_of(column: str, found: Iterable[str]) -> str:
    """The column that a name with dots leads into."""
    there = set(found)
    if column in there:
        return column
    heads = [column[:at] for at, sign in enumerate(column) if sign == "."]
    return next((head for head in heads if head in there), column)
