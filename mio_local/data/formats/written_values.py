"""Lists and objects that were written into a text, as JSON or as Python's repr: what a CSV file makes of them."""

import ast
import re
from typing import Any

from mio_local.data.formats.json_values import parse

ROLE = re.compile(r"""['"](?:role|from)['"]\s*:""")
OPENING = re.compile(r"""(?:\s*array\()?[\[\s]*\{\s*['"](?:role|from|content|value)['"]\s*:""")
LONGEST_REPR = 1_000_000  # characters; Python's own reader takes a hundred times the memory


def written(text: str) -> Any:
    """The list or object that a text is, written as JSON or as Python's repr; None where it is neither."""
    if text.lstrip()[:1] not in ("[", "{"):
        return None
    try:
        value = parse(text)
    except ValueError:
        value = _python(text)
    return value if isinstance(value, list | dict) else None


def messages_in(text: str) -> Any:
    """The message, messages or conversations that a text is, written as JSON or as Python's repr; None where none."""
    if text.lstrip()[:1] not in ("[", "{") or not ROLE.search(text):
        return None
    value = first = written(text)
    while isinstance(first, list) and first:
        first = first[0]
    return value if isinstance(first, dict) and ("role" in first or "from" in first) else None


def looks_written(text: str) -> bool:
    """Whether a text looks like messages, also where nothing reads them: numpy's repr has no commas, say."""
    return OPENING.match(text) is not None and ROLE.search(text) is not None


def _python(text: str) -> Any:
    if len(text) > LONGEST_REPR:
        return None
    try:
        return ast.literal_eval(text.strip())
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        return None
