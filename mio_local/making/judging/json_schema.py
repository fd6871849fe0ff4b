"""A part of JSON Schema 2020-12: what schemas of answers are written in. Another word in a schema is refused, so that
nothing is thought to be checked that is not.

`format` is not checked, as the standard has it; `$ref` leads to a place in the same schema.
"""

import json
import re
from collections.abc import Mapping
from typing import Any

from mio_local.errors import DataError, nearest

SAID = {"$schema", "$id", "$comment", "title", "description", "default", "examples", "format", "deprecated"}
PLACES = {"$defs", "definitions"}
NESTED = {"items", "additionalProperties", "not", "propertyNames"}  # a schema each
LISTS = {"anyOf", "allOf", "oneOf", "prefixItems"}  # of schemas
TABLES = {"properties", "patternProperties"} | PLACES  # name to schema
COUNTS = {"minLength", "maxLength", "minItems", "maxItems", "minProperties", "maxProperties"}
NUMBERS = {"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"}
OTHERS = {"type", "enum", "const", "required", "pattern", "uniqueItems", "$ref"}
KNOWN = SAID | NESTED | LISTS | TABLES | COUNTS | NUMBERS | OTHERS
TYPES: dict[str, Any] = {
    "object": dict, "array": list, "string": str, "boolean": bool, "null": type(None), "number": (int, float),
    "integer": (int, float),
}  # fmt: skip


def check_schema(schema: Any, said: str) -> None:
    """Raise DataError, beginning with `said`, for a schema that is malformed or has an unknown word."""
    try:
        _check(schema, schema, "")
    except ValueError as error:
        raise DataError(f"{said}: {error}") from None
    except RecursionError:
        raise DataError(f"{said}: the schema is nested too deeply") from None


def _check(schema: Any, root: Any, place: str) -> None:
    where = place or "the schema"
    if isinstance(schema, bool):
        return
    if not isinstance(schema, dict):
        raise ValueError(f"{where} must be an object, true or false")
    for word, value in schema.items():
        here = f"{place}/{word}"
        if word not in KNOWN:
            meant = nearest(word, KNOWN - SAID)
            raise ValueError(f"{where} has {word}, which is not checked here{meant}; leave it out")
        if word in NESTED:
            _check(value, root, here)
        elif word in LISTS:
            for number, each in enumerate(_of(value, list, here)):
                _check(each, root, f"{here}/{number}")
        elif word in TABLES:
            for name, each in _of(value, dict, here).items():
                _check(each, root, f"{here}/{name}")
        elif word in COUNTS | NUMBERS:
            if isinstance(value, bool) or not isinstance(value, int | float) or (word == "multipleOf" and value <= 0):
                raise ValueError(f"{here} must be a number" + " above 0" * (word == "multipleOf"))
        elif word == "type":
            for each in value if isinstance(value, list) else [value]:
                if not isinstance(each, str) or each not in TYPES:
                    raise ValueError(f"{here} has {each!r}; it is one of {', '.join(TYPES)}")
        elif word in ("enum", "required"):
            _of(value, list, here)
        elif word == "$ref":
            _check_reference(value, root, here)
        elif word == "pattern":
            _compiled(value, here)
        for pattern in schema.get("patternProperties", {}) if word == "patternProperties" else ():
            _compiled(pattern, here)


def _of(value: Any, kind: type, here: str) -> Any:
    if not isinstance(value, kind):
        raise ValueError(f"{here} must be {'a list' if kind is list else 'an object'}")
    return value


def _compiled(pattern: Any, here: str) -> None:
    try:
        re.compile(pattern)
    except (re.error, TypeError) as error:
        raise ValueError(f"{here}: no regular expression: {error}") from None


def _check_reference(value: Any, root: Any, here: str) -> None:
    """Follow references that lead to references: a ring of them would be followed for ever."""
    seen: list[Any] = []
    while True:
        if value in seen:
            raise ValueError(f"{here} leads back to itself")
        seen.append(value)
        found = _referred(value, root)
        if found is None:
            raise ValueError(f"{here} is {value!r}; it must name a place in this schema, as #/$defs/NAME")
        if not isinstance(found, dict) or "$ref" not in found:
            return
        value = found["$ref"]


def _referred(reference: Any, root: Any) -> Any:
    if not isinstance(reference, str) or not (reference == "#" or reference.startswith("#/")):
        return None
    found = root
    for part in reference.split("/")[1:]:
        name = part.replace("~1", "/").replace("~0", "~")
        if not isinstance(found, dict) or name not in found:
            return None
        found = found[name]
    return found


def valid(value: Any, schema: Any) -> bool:
    """Whether a JSON value is valid by a schema that `check_schema` passed. Raises RecursionError."""
    return _valid(value, schema, schema)


def _valid(value: Any, schema: Any, root: Any) -> bool:
    if isinstance(schema, bool):
        return schema

    def also(other: Any, of: Any = value) -> bool:
        return _valid(of, other, root)

    if "$ref" in schema and not also(_referred(schema["$ref"], root)):
        return False
    if "type" in schema:
        types = schema["type"] if isinstance(schema["type"], list) else [schema["type"]]
        if not any(_is(value, name) for name in types):
            return False
    same = _written(value)
    if "enum" in schema and same not in map(_written, schema["enum"]):
        return False
    if "const" in schema and same != _written(schema["const"]):
        return False
    if not all(also(each) for each in schema.get("allOf", [])) or ("not" in schema and also(schema["not"])):
        return False
    if "anyOf" in schema and not any(also(each) for each in schema["anyOf"]):
        return False
    if "oneOf" in schema and sum(also(each) for each in schema["oneOf"]) != 1:
        return False
    if isinstance(value, dict):
        return _valid_object(value, schema, root)
    if isinstance(value, list):
        return _valid_list(value, schema, root)
    if isinstance(value, str):
        return _within(len(value), schema, "Length") and (
            "pattern" not in schema or re.search(schema["pattern"], value) is not None
        )
    return isinstance(value, bool) or value is None or _valid_number(value, schema)


def _valid_object(value: Mapping[str, Any], schema: Any, root: Any) -> bool:
    if not _within(len(value), schema, "Properties") or any(name not in value for name in schema.get("required", [])):
        return False
    named, patterns = schema.get("properties", {}), schema.get("patternProperties", {})
    for name, each in value.items():
        rules = [named[name]] if name in named else []
        rules += [rule for pattern, rule in patterns.items() if re.search(pattern, name)]
        rules = rules or [schema.get("additionalProperties", True)]
        if not all(_valid(each, rule, root) for rule in rules):
            return False
    return all(_valid(name, schema.get("propertyNames", True), root) for name in value)


def _valid_list(value: list[Any], schema: Any, root: Any) -> bool:
    if not _within(len(value), schema, "Items"):
        return False
    if schema.get("uniqueItems") is True and len(set(map(_written, value))) < len(value):
        return False
    first = schema.get("prefixItems", [])
    rules = [*first, *[schema.get("items", True)] * (len(value) - len(first))]
    return all(_valid(each, rule, root) for each, rule in zip(value, rules, strict=False))


def _valid_number(value: float, schema: Any) -> bool:
    beyond = (
        ("minimum" in schema and value < schema["minimum"]) or ("maximum" in schema and value > schema["maximum"])
        or ("exclusiveMinimum" in schema and value <= schema["exclusiveMinimum"])
        or ("exclusiveMaximum" in schema and value >= schema["exclusiveMaximum"])
    )  # fmt: skip
    if beyond or "multipleOf" not in schema:
        return not beyond
    times = value / schema["multipleOf"]
    return abs(times - round(times)) < 1e-9 * max(1.0, abs(times))


def _within(size: int, schema: Any, what: str) -> bool:
    return schema.get(f"min{what}", 0) <= size <= schema.get(f"max{what}", size)


def _is(value: Any, name: str) -> bool:
    if isinstance(value, bool):
        return name == "boolean"
    return isinstance(value, TYPES[name]) and (name != "integer" or value == int(value))


def _written(value: Any) -> str:
    """A text that equal JSON values share, and no others: 1 is 1.0, and not true."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, list):
        return f"[{','.join(map(_written, value))}]"
    if isinstance(value, dict):
        return f"{{{','.join(f'{json.dumps(name)}:{_written(value[name])}' for name in sorted(value))}}}"
    return json.dumps(value)
