"""What is wrong with a recipe's values, in one line, and values that need reading before they are checked."""

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import ValidationError

from mio_local.errors import nearest

RESERVED = ("messages", "tools", "documents", "add_generation_prompt", "chat_template", "bos_token", "eos_token")


def bytes_of(text: str) -> float:
    """A size as 12GB, 800MB or a number of GB; 0.0 for what is none."""
    found = re.fullmatch(r"(\d+(?:\.\d*)?) *(gb?|mb?|)", text.strip().lower())
    return float(found[1]) * (1e6 if found[2].startswith("m") else 1e9) if found else 0.0


def template_arguments(given: Mapping[str, Any]) -> dict[str, Any]:
    """A template's arguments; words that are JSON, as false and 3 are, become what they say. Raises ValueError for a
    name that every template is given."""
    if reserved := next((key for key in given if key in RESERVED), None):
        raise ValueError(f"{reserved} is given to every template; give it no value here")
    return {key: _json_or_text(each) for key, each in given.items()}


def _json_or_text(value: Any) -> Any:
    try:
        read = json.loads(value) if isinstance(value, str) else value
    except (ValueError, RecursionError):
        return value
    return value if read is None else read


def explained(
    error: ValidationError, source: str, origin: Mapping[str, str], sections: Sequence[str], keys: Sequence[str]
) -> str:
    """The first problem, named by the flag that gave the value, or by file and key, with the number of others.

    `origin` is the flag by key, `sections` and `keys` are all that a recipe has.
    """
    problems = error.errors(include_url=False, include_context=False)
    first = problems[0]
    path = [str(part) for part in first["loc"]]
    key = ".".join(path[:2])
    where = f"{origin[key]} {shown(first['input'])}" if key in origin else f"{source}: {'.'.join(path)}"
    if first["type"] == "extra_forbidden":
        known = keys if len(path) > 1 else sections
        text = f"{origin.get(key, source)}: unknown key {key}{nearest(key, known)}"
    elif key in origin:
        text = f"{where}: {_reason(first)} ({key})"
    else:
        text = f"{where} = {shown(first['input'])}: {_reason(first)}"
    more = len(problems) - 1
    return text + (f" (and {more} more problem{'s' if more > 1 else ''})" if more else "")


def _reason(problem: Any) -> str:
    message = str(problem["msg"]).removeprefix("Value error, ")
    return message[0].lower() + message[1:]


def shown(value: Any) -> str:
    """A value as a message quotes it."""
    text = str(value)
    return text if len(text) <= 60 else text[:59] + "…"
