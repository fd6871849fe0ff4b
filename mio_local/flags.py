"""Command-line flags, made from the recipe's keys, and those keys in words."""

import argparse
import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from types import UnionType
from typing import Any, Literal, TypeVar, get_args, get_origin

from pydantic import ValidationError

from mio_local.errors import RecipeError, nearest
from mio_local.recipe import Recipe, Section, build, keys, read_toml
from mio_local.shipped import recipes

T = TypeVar("T", bound=Section)
READING = (
    "data.split", "data.revision", "data.columns", "data.ranking", "data.max_tokens", "data.long_prompt",
    "data.bad_rows",
)  # fmt: skip


def add_recipe_flags(parser: argparse.ArgumentParser) -> None:
    """A flag for every recipe key that has one, and --set for all of them."""
    _add_keys(parser, keys(), "any recipe key, as section.key=value; may be given again")


def add_reading_flags(parser: argparse.ArgumentParser) -> None:
    """Those of the keys by which pairs are read."""
    shown = ", ".join(key.partition(".")[2] for key in READING)
    _add_keys(parser, {key: keys()[key] for key in READING}, f"how --data is read: data.KEY=VALUE, of {shown}")


def _add_keys(parser: argparse.ArgumentParser, known: Mapping[str, Any], help: str) -> None:
    for key, field in known.items():
        _add(parser, key, field)
    parser.add_argument("--set", dest="assignments", metavar="KEY=VALUE", action="append", default=[], help=help)


def add_section_flags(parser: argparse.ArgumentParser, section: type[Section]) -> None:
    """A flag for every key of one table that is not the recipe's."""
    for key, field in section.model_fields.items():
        _add(parser, key, field)


def section_from(arguments: argparse.Namespace, section: type[T]) -> T:
    """The table, with the flags laid over its defaults. Raises RecipeError."""
    given = {key: getattr(arguments, key) for key in section.model_fields if getattr(arguments, key) is not None}
    try:
        return section.model_validate(given)
    except ValidationError as error:
        first = error.errors()[0]
        key = str(first["loc"][0])
        raise RecipeError(f"--{key.replace('_', '-')} {given[key]}: {first['msg'].lower()}") from None


def _add(parser: argparse.ArgumentParser, key: str, field: Any) -> None:
    flag = flag_of(field)
    if not flag:
        return
    shown = "" if field.default in ("", {}) else f" (default {as_text(field.default)})"
    help = f"{meaning(field)}{shown}".replace("%", "%%")
    if field.annotation is bool:
        parser.add_argument(flag, dest=key, action=argparse.BooleanOptionalAction, default=None, help=help)
    else:
        parser.add_argument(flag, dest=key, metavar=flag[2:].upper().replace("-", "_"), help=help)


def flag_of(field: Any) -> str:
    """The flag of a key; "" for one that has none."""
    return (field.json_schema_extra or {}).get("flag", "")


def meaning(field: Any) -> str:
    """What a key is for, with its values where it has a few that its help does not all name."""
    few = _few(field)
    named = all(value in re.findall(r"[\w-]+", field.description) for value in few)
    return field.description if named else f"{field.description}; {_either(few)}"


def rule(field: Any) -> str:
    """What values a key takes, in words."""
    kind = field.annotation
    if few := _few(field):
        return _either(few)
    if kind is bool:
        return "true or false"
    if get_origin(kind) is list:
        return "words, as a,b,c; in a recipe [\"a\", \"b\", \"c\"]"
    if get_origin(kind) is dict:
        return "pairs, as a=b,c=d; in a recipe {a = \"b\", c = \"d\"}"
    if get_origin(kind) is UnionType:  # of a number and a word
        return f"a whole number, or {get_args(get_args(kind)[1])[0]}"
    bounds = [
        words.format(getattr(bound, side)) for bound in field.metadata
        for side, words in (("ge", "{} or more"), ("gt", "above {}"), ("lt", "below {}")) if hasattr(bound, side)
    ]  # fmt: skip
    return ", ".join([{int: "a whole number", float: "a number"}.get(kind, "text"), *bounds])


def _few(field: Any) -> list[str]:
    """The values of a key that has only a few."""
    return [as_text(value) for value in get_args(field.annotation)] if get_origin(field.annotation) is Literal else []


def _either(values: list[str]) -> str:
    return f"{', '.join(values[:-1])} or {values[-1]}"


def recipe_from(arguments: argparse.Namespace) -> Recipe:
    """The recipe file, if any, with the flags and --set laid over it. Raises RecipeError."""
    overrides = given(arguments, keys())
    file, made = getattr(arguments, "recipe", None), getattr(arguments, "make_file", "")
    if not (file or made):
        return build({}, "command line", overrides)
    path = find_recipe(file) if file else Path(made)
    tables = read_toml(path) if file else {}
    if made:  # a file with the table, or with the table alone
        own = read_toml(Path(os.path.expanduser(made)))
        tables["make"] = own.get("make", own)
    return build(tables, str(path), overrides)


def given(arguments: argparse.Namespace, known: Mapping[str, Any]) -> dict[str, tuple[str, Any]]:
    """What flags and --set say of these keys, for `build`. Raises RecipeError."""
    overrides: dict[str, tuple[str, Any]] = {}
    for key, field in known.items():
        value = getattr(arguments, key, None)
        if value is not None:
            flag = flag_of(field)
            overrides[key] = (flag, _parsed(field, flag, value))
    for assignment in arguments.assignments:
        key, equals, value = assignment.partition("=")
        if not equals:
            raise RecipeError(f"--set {assignment}: write it as section.key=value")
        if key not in known:
            raise RecipeError(f"--set {assignment}: unknown key {key}{nearest(key, known)}")
        overrides[key] = (f"--set {key}", _parsed(known[key], f"--set {key}", value))
    return overrides


def words(recipe: Recipe) -> list[str]:
    """The words of a command line that give this recipe: a flag for every key that differs from its default."""
    found: list[str] = []
    default = Recipe()
    for key in keys():
        section, _, name = key.partition(".")
        value = getattr(getattr(recipe, section), name)
        if value != getattr(getattr(default, section), name):
            found += flag_words(key, value)
    return found


def flag_words(key: str, value: Any) -> list[str]:
    """The words of a command line that give a key this value."""
    flag = flag_of(keys()[key])
    if not flag or value is False:
        return ["--set", f"{key}={as_text(value)}"]
    if value is True:
        return [flag]
    text = as_text(value)
    return [f"{flag}={text}"] if text.startswith("-") else [flag, text]


def as_text(value: Any) -> str:
    """A value as it is typed."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list):
        return ",".join(map(str, value))
    if isinstance(value, dict):
        return ",".join(f"{name}={each if isinstance(each, str) else json.dumps(each)}" for name, each in value.items())
    return str(value)


def find_recipe(name: str) -> Path:
    """A recipe file by path, or a shipped one by name."""
    path = Path(os.path.expanduser(name))  # unlike Path's own, leaves a user that is not there as it is
    if path.is_file() or path.suffix or "/" in name:
        return path
    shipped = {file.stem: file for file in recipes()}
    if name not in shipped:
        raise RecipeError(f"{name}: no such recipe file or shipped recipe{nearest(name, shipped)}; "
                          f"shipped: {', '.join(shipped)}")
    return shipped[name]


def _parsed(field: Any, flag: str, value: Any) -> Any:
    if not isinstance(value, str):
        return value
    if get_origin(field.annotation) is list:
        return [part.strip() for part in _parts(value) if part.strip()]
    if get_origin(field.annotation) is dict:
        numbers = get_args(field.annotation)[1] in (int, float)  # a pattern before them may have an = of its own
        cut = str.rpartition if numbers else str.partition
        pairs = [cut(part, "=") for part in (_parts(value) if numbers else value.split(",")) if part.strip()]
        if bad := [key for key, equals, _ in pairs if not equals]:
            shape = "role=column,role=column" if "columns" in flag else "name=value,name=value"
            raise RecipeError(f"{flag} {value}: {bad[0]} has no =; write it as {shape}")
        return {key.strip(): column.strip() for key, _, column in pairs}
    return value


def _parts(text: str) -> list[str]:
    """What stands between commas, but for those inside the brackets of a regular expression."""
    found, depth, escaped = [""], 0, False
    for letter in text:
        if not escaped:
            depth = max(0, depth + (letter in "([{") - (letter in ")]}"))
        if letter == "," and not depth:
            found.append("")
        else:
            found[-1] += letter
        escaped = letter == "\\" and not escaped
    return found
