"""Tool calls of messages, and the schemas of tools."""

import json
from collections.abc import Mapping
from typing import Any

from mio_local.data.formats.written_values import written
from mio_local.data.parts.bad_row import BadRow, checked, is_null
from mio_local.text import kind_name

Calls = list[dict[str, Any]]


def stripped(value: Any) -> Any:
    """`value` without the nulls in its objects, which Arrow adds for each field that another row has."""
    if isinstance(value, dict):
        return {key: stripped(one) for key, one in value.items() if one is not None}
    return [stripped(one) for one in value] if isinstance(value, list) else value


def calls_of(item: Mapping[str, Any], role: str, where: str) -> Calls:
    """The tool calls of a message, its `tool_calls` or the older `function_call`; none where both are empty."""
    given = _read(item.get("tool_calls"))
    if not given and (single := _read(item.get("function_call"))):
        given = [{"type": "function", "function": single}]
    return [_parsed(call) for call in _objects(given, f"{role} has a tool call", role, where)]


def calls_in(text: Any, role: str, where: str) -> Calls:
    """The tool calls that the text of a `function_call` turn is: one, or a list of them."""
    calls = _read(text)
    calls = [calls] if isinstance(calls, dict) else calls
    if not calls or not isinstance(calls, list) or not all(isinstance(call, dict) and "name" in call for call in calls):
        raise BadRow(where, f"{role} has a function call that is not JSON with a name and arguments")
    given = [{"type": "function", "function": call} for call in calls]
    return [_parsed(call) for call in _objects(given, f"{role} has a tool call", role, where)]


def tools_of(value: Any, where: str) -> Calls | None:
    """The schemas in a cell: a list of them or one, objects or their JSON text. None for no schema."""
    given = _read(value)
    given = [given] if isinstance(given, dict) else given
    if isinstance(given, list):
        given = [_read(one) for one in given]
    try:
        return _objects(given, "tools has a schema", "tools", where) or None
    except BadRow as error:
        raise BadRow(where, error.reason, "; --columns tools= leaves the column out") from None


def _read(value: Any) -> Any:
    """A cell, or what is written in it; None for an empty one."""
    if isinstance(value, str):
        found = written(value)
        return found if found is not None else value.strip() or None
    return None if is_null(value) else value


def _objects(values: Any, what: str, role: str, where: str) -> Calls:
    if values is None:
        return []
    if not isinstance(values, list):
        raise BadRow(where, f"{what} that is no object", f" (but {kind_name(values)})")
    for value in values:
        if not isinstance(value, dict):
            raise BadRow(where, f"{what} that is no object", f" (but {kind_name(value)})")
    try:
        checked(json.dumps(values, ensure_ascii=False), role, where)
    except (TypeError, ValueError, RecursionError):
        raise BadRow(where, f"{what} that no JSON can hold") from None
    return stripped(values)


def _parsed(call: dict[str, Any]) -> dict[str, Any]:
    """A call with its arguments as an object, where they are the JSON text of one."""
    call = dict(call)
    if isinstance(call.get("function"), dict):
        call["function"] = _parsed(call["function"])
    text = call.get("arguments")
    if isinstance(text, str) and isinstance(arguments := written(text), dict):
        call["arguments"] = arguments
    return call
