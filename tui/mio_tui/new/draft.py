"""A recipe while it is being edited: raw values by key, judged by the recipe's own rules."""

import argparse
import shlex
import tomllib
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import tomlkit

from mio_local.errors import RecipeError, one_line
from mio_local.flags import as_text, flag_words, recipe_from
from mio_local.objectives.losses import LOSSES
from mio_local.process import program
from mio_local.recipe import PATHS, Recipe, build, keys, read_toml
from mio_local.storage.writing import write_atomically

KEYS = keys()
# what belongs to the source or the model that was chosen before
OF_MODEL = ("model.revision",)
OF_SOURCE = ("data.revision", "data.columns", "data.split")


class Draft:
    """`values` holds what differs from the defaults, by key: text as it was typed, or a value as a file had it.

    `both` trains MIO and then DPO at half its beta, which begins with the same gradient; `name` is the run's.
    """

    def __init__(self, tables: Mapping[str, Any] | None = None, name: str = "") -> None:
        self.values: dict[str, Any] = {}
        self.name = name
        self.both = False
        self.touched = False
        if tables:
            self.take(tables, "recipe")
            self.touched = False

    def text(self, key: str) -> str:
        """The value of a key as it is typed."""
        return as_text(self.values[key] if key in self.values else KEYS[key].default)

    def set(self, key: str, value: Any) -> bool:
        """Give a key a value, typed or not; what is empty, or the default, is no longer kept. Whether it changed."""
        before = self.values.get(key)
        had = key in self.values
        self.values.pop(key, None)
        # a default may be parsed into something else: `auto` into the form of the objective that is the default
        dropped = value in ("", {}, []) or value == KEYS[key].default or parsed(key, value)[0] == (KEYS[key].default,)
        if not dropped:
            self.values[key] = value
        changed = had != (key in self.values) or before != self.values.get(key)
        self.touched |= changed
        return changed

    def choose_model(self, name: str) -> None:
        """Take a model; the revision of another one is forgotten."""
        if self._replaces("model.name", name):
            self._forget(OF_MODEL)

    def choose_source(self, source: str) -> None:
        """Take a dataset; the columns, split and revision of another one are forgotten."""
        if self._replaces("data.source", source):
            self._forget(OF_SOURCE)

    def _replaces(self, key: str, value: str) -> bool:
        """Give a key a value; whether another one stood there."""
        stood = key in self.values
        return self.set(key, value) and stood

    def _forget(self, names: tuple[str, ...]) -> None:
        for key in names:
            self.values.pop(key, None)

    def error(self, key: str) -> str:
        """What is wrong with a key's value, in the recipe's words; empty where nothing is."""
        return parsed(key, self.values[key])[1] if key in self.values else ""

    def errors(self) -> dict[str, str]:
        """The message of every key whose value is wrong."""
        return {key: message for key in self.values if (message := self.error(key))}

    def value(self, key: str) -> Any:
        """The value of a key as the recipe has it; its default where what is typed is wrong."""
        found = parsed(key, self.values[key])[0] if key in self.values else ()
        return found[0] if found else KEYS[key].default

    def section(self, name: str) -> dict[str, Any]:
        """The values of a table of the recipe."""
        return {key.partition(".")[2]: self.value(key) for key in KEYS if key.startswith(f"{name}.")}

    def recipe(self, changed: Mapping[str, Any] | None = None) -> Recipe:
        """The recipe, with the keys in `changed` laid over it. Raises RecipeError."""
        overrides: dict[str, tuple[str, Any]] = {}
        for key, value in {**self.values, **(changed or {})}.items():
            found, message = parsed(key, value)
            if not found:
                raise RecipeError(f"{key} {message}")
            overrides[key] = (key, found[0])
        return build({}, "form", overrides)

    def recipes(self) -> list[Recipe]:
        """The runs to train, one after the other. Raises RecipeError."""
        if not self.both:
            return [self.recipe()]
        mio = self.recipe({"loss.name": "mio"})
        return [mio, self.recipe({"loss.name": "dpo", "loss.beta": mio.loss.beta / 2})]

    def tables(self) -> dict[str, dict[str, Any]]:
        """What differs from the defaults, as a recipe file's tables; a wrong value stands there as it was typed."""
        made: dict[str, dict[str, Any]] = {}
        for key in (key for key in KEYS if key in self.values):
            section, _, name = key.partition(".")
            found, _ = parsed(key, self.values[key])
            made.setdefault(section, {})[name] = found[0] if found else self.values[key]
        return made

    def toml(self) -> str:
        """`tables` as a recipe file, each key with its help."""
        return as_toml(self.tables())

    def take(self, tables: Mapping[str, Any], source: str) -> None:
        """Replace all values by those of a recipe's tables. Raises RecipeError, and then changes nothing."""
        build(tables, source)
        self.values = {}
        for section, table in tables.items():
            for name, value in table.items():
                self.set(f"{section}.{name}", value)
        loss = self.value("loss.name")  # a frozen recipe has written the published form out
        if self.values.get("loss.reduction") == LOSSES[loss].reduction:
            del self.values["loss.reduction"]
        self.both = False
        self.touched = True

    def take_toml(self, text: str) -> None:
        """Replace all values by those of a recipe written as text; `both` stays while its objective is MIO.

        Raises RecipeError, and then changes nothing.
        """
        try:
            tables = tomllib.loads(text)
        except tomllib.TOMLDecodeError as error:
            raise RecipeError(f"not TOML: {error}") from None
        both = self.both
        self.take(tables, "text")
        self.both = both and self.value("loss.name") == "mio"

    def load(self, path: Path) -> None:
        """Take a recipe file. Raises RecipeError."""
        self.take(read_toml(path), path.name)

    def save(self, path: Path) -> None:
        """Write what differs from the defaults beside `path`, then rename; local paths are made absolute.

        Of `both` this is the MIO half. Raises RecipeError.
        """
        absolute, tables = self.recipe().absolute(), self.tables()
        for section, key in PATHS:
            if key in tables.get(section, {}):
                tables[section][key] = getattr(getattr(absolute, section), key)
        try:
            write_atomically(path, as_toml(tables))
        except OSError as error:
            raise RecipeError(f"{path.name}: cannot be written: {error.strerror or one_line(error)}") from None
        self.touched &= self.both

    def commands(self, folder: str = "") -> list[str]:
        """The command lines that train the same; none where a value cannot be written as a flag.

        `folder` is for --runs. Raises RecipeError.
        """
        found: list[str] = []
        for recipe in self.recipes():
            changed = {"loss.name": recipe.loss.name, "loss.beta": recipe.loss.beta} if self.both else {}
            values = {key: self.value(key) for key in KEYS if key in self.values} | changed
            name = f"{self.name}-{recipe.loss.name}" if self.name and self.both else self.name
            words = ["train"]
            for key, value in values.items():
                if value == KEYS[key].default:
                    continue
                if parsed(key, as_text(value))[0] != (value,):
                    return []
                words += flag_words(key, value)
            words += ["--name", name] * bool(name) + ["--runs", folder] * bool(folder)
            found.append(f"{program()} {shlex.join(words)}")
        return found


def recipe_file(typed: str) -> Path:
    """The file that a typed path means: `.toml` is added where it has no ending."""
    path = Path(typed.strip()).expanduser()
    return path if path.suffix else path.with_suffix(".toml")


def as_toml(tables: Mapping[str, Mapping[str, Any]], *, help: bool = True) -> str:
    """Tables of the recipe as TOML, each key with its help."""
    document = tomlkit.document()
    for section, values in tables.items():
        table = tomlkit.table()
        for key, value in values.items():
            item = tomlkit.item(value)
            if help:
                item.comment(KEYS[f"{section}.{key}"].description or "")
            table.add(key, item)
        document.add(section, table)
    return tomlkit.dumps(document)


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
