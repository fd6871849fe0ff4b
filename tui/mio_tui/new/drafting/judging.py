"""A value by the recipe's rules, by the very path that a command line takes."""

import argparse
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from mio_local.errors import RecipeError
from mio_local.flags import as_text, recipe_from
from mio_local.recipe import Recipe, build, keys

KEYS = keys()
Judgement = tuple[tuple[Any] | tuple[()], str]
Near = tuple[tuple[str, str], ...]


def parsed(key: str, value: Any, values: Mapping[str, Any] | None = None) -> Judgement:
    """A value by the recipe's rules: (it,) and no message, or nothing and what is wrong with it. `values`: what else
    the recipe has, as it may depend on another key what this one takes."""
    other = beside(key)
    near = ((other, as_text(values[other])),) if values and other in values else ()
    if near and parsed(*near[0])[1]:
        near = ()  # wrong itself, which is told there
    return _parsed_text(key, value, near) if isinstance(value, str) else _judged(key, value, near)


def beside(key: str) -> str:
    """The key on which it depends what this one takes; "" for none."""
    other = (KEYS[key].json_schema_extra or {}).get("beside", "")
    return f"{key.partition('.')[0]}.{other}" if other else ""


@lru_cache(maxsize=1000)
def _parsed_text(key: str, text: str, near: Near) -> Judgement:
    """By the very path that a command line takes."""
    try:
        recipe = recipe_from(argparse.Namespace(assignments=[f"{name}={each}" for name, each in (*near, (key, text))]))
    except RecipeError as error:
        return (), _short(error, key)
    return (_of(recipe, key),), ""


def _judged(key: str, value: Any, near: Near) -> Judgement:
    try:
        given = {name: (f"--set {name}", each) for name, each in (*near, (key, value))}
        return (_of(build({}, "form", given), key),), ""
    except RecipeError as error:
        return (), _short(error, key)


def _of(recipe: Recipe, key: str) -> Any:
    section, _, name = key.partition(".")
    return getattr(getattr(recipe, section), name)


def _short(error: RecipeError, key: str) -> str:
    """A message without the key, which stands before the field."""
    return str(error).removeprefix(f"--set {key}").removesuffix(f" ({key})").lstrip(": ")
