"""JSON text parsed: fast where it is plain, and what is wrong with it in words."""

import json
import re
import sys
from typing import Any

from pydantic_core import from_json

DEEPEST = 200  # from_json's limit


class BadJson(ValueError):
    """Text that is no JSON, or that has more in it than can be held. `line` counts from 1."""

    def __init__(self, reason: str, line: int) -> None:
        super().__init__(reason)
        self.line = line


def parse(text: bytes | str) -> Any:
    """The value of a JSON text; NaN and Infinity are allowed. Raises BadJson, and UnicodeDecodeError for bytes."""
    try:
        return from_json(text)
    except ValueError as error:
        return _parse_slowly(text, str(error))


def _parse_slowly(text: bytes | str, problem: str) -> Any:
    """As json has it, which takes half a surrogate pair, and says where what it does not take is."""
    text = text if isinstance(text, str) else text.decode("utf-8")
    too_deep = f"lists and objects nested more than {DEEPEST} deep"
    if "recursion limit" in problem:
        found = re.search(r"line (\d+)", problem)
        raise BadJson(too_deep, int(found[1]) if found else 1)
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise BadJson(f"not JSON: {error.msg} at column {error.colno}", error.lineno) from None
    except RecursionError:
        raise BadJson(too_deep, 1) from None
    except ValueError:  # Python reads no longer number
        most = sys.get_int_max_str_digits()
        found = re.search(rf"\d{{{most + 1},}}", text)
        line = text.count("\n", 0, found.start()) + 1 if found else 1
        raise BadJson(f"a number of more than {most:,} digits", line) from None
