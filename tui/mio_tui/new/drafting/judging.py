"""A value by the recipe's rules, by the very path that a command line takes."""

import argparse
from functools import lru_cache
from typing import Any

from mio_local.errors import RecipeError
from mio_local.flags import recipe_from
from mio_local.recipe import Recipe, build, keys

KEYS = keys()


def parsed(key: str, value: Any) -> tuple[tuple[Any] | tuple[()], str]:
    """A value by the recipe's rules: (it,) and no message, or nothing and what is wrong with it."""
    return _parsed_text(key, value) if isinstance(value, str) else _judged(key, value)


@lru_cache(maxsize=1000)
def _parsed_text(key: str, text: str) -> tuple[tuple[Any] | tuple[()], str]:
    """By the very path that a command line takes."""
    try:
        recipe = recipe_from(argparse.Namespace(assignments=[f"{key}={text}"]))
    except RecipeError as error:
        return (), _short(error, key)
    return (_of(recipe, key),), ""


def _judged(key: str, value: Any) -> tuple[tuple[Any] | tuple[()], str]:
    try:
        return (_of(build({}, "form", {key: (f"--set {key}", value)}), key),), ""
    except RecipeError as error:
        return (), _short(error, key)


def _of(recipe: Recipe, key: str) -> Any:
    section, _, name = key.partition(".")
    return getattr(getattr(recipe, section), name)


def _short(error: RecipeError, key: str) -> str:
    """A message without the key, which stands before the field."""
    return str(error).removeprefix(f"--set {key}").removesuffix(f" ({key})").lstrip(": ")
