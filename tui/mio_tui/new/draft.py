"""A recipe while it is being edited: raw values by key, judged by the recipe's own rules."""

import itertools
import shlex
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import tomlkit

from mio_local.errors import RecipeError, one_line
from mio_local.flags import as_text, flag_words
from mio_local.objectives.losses import LOSSES, dpo_beta
from mio_local.process import program
from mio_local.recipe import PATHS, Recipe, build, read_toml
from mio_local.storage.writing import write_atomically
from mio_tui.new.drafting import several
from mio_tui.new.drafting.judging import KEYS, parsed

__all__ = ["KEYS", "Draft", "as_toml", "parsed", "recipe_file"]

# what belongs to the source or the model that was chosen before
OF_MODEL = ("model.revision",)
OF_SOURCE = ("data.revision", "data.columns", "data.split")


class Draft:
    """`values` holds what differs from the defaults, by key: text as it was typed, or a value as a file had it.

    `both` trains MIO and then DPO at half its beta, which begins with the same gradient; `name` is the run's. A text
    of several values makes a run for each; the draft's own recipe has the first of them.
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

    def choose_data(self, source: str, settings: Mapping[str, Any]) -> None:
        """Take a dataset as a run read it: with these settings of `data`."""
        self.choose_source(source)
        for name, value in settings.items():
            self.set(f"data.{name}", value)

    def _replaces(self, key: str, value: str) -> bool:
        """Give a key a value; whether another one stood there."""
        stood = key in self.values
        return self.set(key, value) and stood

    def _forget(self, names: tuple[str, ...]) -> None:
        for key in names:
            self.values.pop(key, None)

    def error(self, key: str) -> str:
        """What is wrong with a key's value, in the recipe's words; empty where nothing is."""
        if self.several(key):
            return several.error(key, self.values)
        return parsed(key, self.values[key], self.values)[1] if key in self.values else ""

    def several(self, key: str) -> list[str]:
        """The values of a key that has several, as they were typed."""
        return several.parts(key, self.values.get(key))

    @property
    def swept(self) -> list[str]:
        """The keys that have several values."""
        return [key for key in self.values if self.several(key)]

    def _first(self, key: str) -> Any:
        """What a key was given; the first where that is several values."""
        return next(iter(self.several(key)), self.values[key])

    def errors(self) -> dict[str, str]:
        """The message of every key whose value is wrong."""
        return {key: message for key in self.values if (message := self.error(key))}

    def value(self, key: str) -> Any:
        """The value of a key as the recipe has it; its default where what is typed is wrong."""
        found = parsed(key, self._first(key), self.values)[0] if key in self.values else ()
        return found[0] if found else KEYS[key].default

    def section(self, name: str) -> dict[str, Any]:
        """The values of a table of the recipe."""
        return {key.partition(".")[2]: self.value(key) for key in KEYS if key.startswith(f"{name}.")}

    def recipe(self, changed: Mapping[str, Any] | None = None) -> Recipe:
        """The recipe, with the keys in `changed` laid over it. Raises RecipeError."""
        overrides: dict[str, tuple[str, Any]] = {}
        values = {**{key: self._first(key) for key in self.values}, **(changed or {})}
        for key, value in values.items():
            found, message = parsed(key, value, values)
            if not found:
                raise RecipeError(f"{key} {message}")
            overrides[key] = (key, found[0])
        return build({}, "form", overrides)

    def recipes(self) -> list[Recipe]:
        """The runs to train, one after the other. Raises RecipeError."""
        return [self.recipe(changed) for changed in self.variants().values()]

    def variants(self) -> dict[str, dict[str, Any]]:
        """The keys by which each run differs from the draft, by what its name ends in, "" for a run alone. Raises
        RecipeError."""
        swept = {key: self.several(key) for key in self.swept}
        if wrong := next((f"{key} {message}" for key in swept if (message := self.error(key))), ""):
            raise RecipeError(wrong)
        if swept and self.value("train.sft_epochs") and self.value("loss.name") != "sft":
            raise RecipeError(f"train.sft_epochs: not with several values of {' and '.join(swept)}; train those first")
        found: dict[str, dict[str, Any]] = {}
        for values in itertools.product(*swept.values()):
            pairs = zip(swept, values, strict=True)
            changed = {key: parsed(key, value, self.values)[0][0] for key, value in pairs}  # pyright: ignore
            end = several.ending(changed)
            if not self.both:
                found[end] = changed
                continue
            beta = dpo_beta(changed.get("loss.beta", self.value("loss.beta")))
            found[f"{end}-mio".strip("-")] = {**changed, "loss.name": "mio"}
            found[f"{end}-dpo".strip("-")] = {**changed, "loss.name": "dpo", "loss.beta": beta}
        if len(found) > several.MOST_RUNS:
            raise RecipeError(f"{' and '.join(swept)}: makes {len(found)} runs; {several.MOST_RUNS} are the most")
        return found

    def tables(self) -> dict[str, dict[str, Any]]:
        """What differs from the defaults, as a recipe file's tables; a wrong value stands there as it was typed."""
        made: dict[str, dict[str, Any]] = {}
        for key in (key for key in KEYS if key in self.values):
            section, _, name = key.partition(".")
            found, _ = parsed(key, self._first(key), self.values)
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
        """Replace all values by those of a recipe written as text; `both` stays while its objective is MIO, and several
        values of a key while it has the first of them.

        Raises RecipeError, and then changes nothing.
        """
        try:
            tables = tomllib.loads(text)
        except tomllib.TOMLDecodeError as error:
            raise RecipeError(f"not TOML: {error}") from None
        both, swept = self.both, {key: (self.value(key), self.values[key]) for key in self.swept}
        self.take(tables, "text")
        self.both = both and self.value("loss.name") == "mio"
        self.values.update({key: typed for key, (first, typed) in swept.items() if self.value(key) == first})

    def load(self, path: Path) -> None:
        """Take a recipe file. Raises RecipeError."""
        self.take(read_toml(path), path.name)

    def save(self, path: Path) -> None:
        """Write what differs from the defaults beside `path`, then rename; local paths are made absolute.

        Of `both` this is the MIO half, of several values the first. Raises RecipeError.
        """
        absolute, tables = self.recipe().absolute(), self.tables()
        for section, key in PATHS:
            if key in tables.get(section, {}):
                tables[section][key] = getattr(getattr(absolute, section), key)
        try:
            write_atomically(path, as_toml(tables))
        except OSError as error:
            raise RecipeError(f"{path.name}: cannot be written: {error.strerror or one_line(error)}") from None
        self.touched &= self.both or bool(self.swept)

    def commands(self, folder: str = "") -> list[str]:
        """The command lines that train the same; none where a value cannot be written as a flag.

        `folder` is for --runs. Raises RecipeError.
        """
        found: list[str] = []
        for end, changed in self.variants().items():
            self.recipe(changed)
            values = {key: self.value(key) for key in KEYS if key in self.values} | changed
            name = f"{self.name}-{end}" if self.name and end else self.name
            words = ["train"]
            for key, value in values.items():
                if value == KEYS[key].default:
                    continue
                if parsed(key, as_text(value), values)[0] != (value,):
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
