"""Rows that are no pair, and what cells are missing."""

from typing import Any, TypeGuard

from mio_local.errors import DataError


class BadRow(DataError):
    """A row that is no pair. `reason` is the same for every row with this fault; the text adds the row's details."""

    def __init__(self, where: str, reason: str, detail: str = "") -> None:
        super().__init__(f"{where}: {reason}{detail}")
        self.reason = reason


class NoPreference(BadRow):
    """A row whose answers nobody told apart: no fault, so it is counted and left out, and stops nothing."""


def is_null(value: Any) -> TypeGuard[float | None]:
    """Whether a cell has nothing: null, or the NaN that pandas has for it."""
    return value is None or (isinstance(value, float) and value != value)


def checked(text: str, role: str, where: str) -> str:
    """`text`, refused when it has half of a surrogate pair, which JSON can spell and no tokenizer can read."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise BadRow(where, f"{role} is not Unicode text", f" (half a surrogate pair at {error.start})") from None
    return text
