"""What is to be made: the values of the form, judged by the recipe's rules, and the command line that makes it."""

import itertools
import os
import shlex
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from mio_local.errors import MioError, RecipeError
from mio_local.flags import flag_words
from mio_local.process import program
from mio_local.recipe import read_toml
from mio_local.runs.directory import find, runs_folder
from mio_local.storage.paths import expanded
from mio_tui.actions.recipe_like import on_pairs, with_pairs
from mio_tui.make.judge_list import judge_error
from mio_tui.new import stock
from mio_tui.new.draft import KEYS, Draft
from mio_tui.new.lookups.suggestions import DATA_ENDINGS

MODEL, RUN, PROMPTS, JUDGE, OUT = "model.name", "make.run", "make.prompts", "make.judge", "make.out"
OF_A_MODEL = ("name", "revision", "quantize", "dtype")  # of [model], what another form's draft hands on
NAME, ENDINGS = "pairs", (".jsonl", ".ndjson")
WORK = ".work"  # what stands behind the name of a file that is being made, or was
HELP = {
    JUDGE: "who rewards an answer, the higher the better; the list below says how",
    RUN: "a run whose adapter answers, by its name; empty lets the model answer",
    OUT: "the file of pairs, .jsonl; one that was stopped goes on where its settings are the same",
}


class MakeDraft:
    """`tables` is what the pairs are going to be trained with, a recipe's, whose model is the first choice."""

    def __init__(self, folder: Path, tables: Mapping[str, Any] | None = None) -> None:
        self.folder, self.tables = folder, dict(tables or {})
        model = dict(self.tables.get("model") or {})
        self.draft = Draft()
        with suppress(RecipeError):  # which is told where it was typed
            self.draft.take({"model": {key: model[key] for key in OF_A_MODEL if key in model}}, "recipe")
        self.own = {RUN: "", OUT: free_name()}
        self.touched = False

    def text(self, key: str) -> str:
        """The value of a key as it is typed."""
        return self.own[key] if key in self.own else self.draft.text(key)

    def set(self, key: str, typed: str) -> None:
        """Give a key a value."""
        self.touched = True
        if key in self.own:
            self.own[key] = typed
        elif key == MODEL:
            self.draft.choose_model(typed)
        else:
            self.draft.set(key, typed)

    def error(self, key: str) -> str:
        """What is wrong with a key's value; "" where nothing is, and where it is empty."""
        typed = self.text(key)
        if key in KEYS and (wrong := self.draft.error(key)):
            return wrong
        if not typed:
            return ""
        if key == MODEL:
            return _no_folder(typed)
        if key == RUN:
            return self._run_error()
        if key == PROMPTS:
            return _no_file(typed)
        if key == JUDGE:
            return judge_error(typed)
        return self._out_error() if key == OUT else ""

    def hint(self, key: str) -> str:
        """What there is to say of a key: what it is for."""
        return HELP.get(key) or KEYS[key].description or ""

    def missing(self) -> tuple[str, str]:
        """The first key that must have a value and has none, and what is missing; empty where all is there."""
        if not (self.text(MODEL) or self.text(RUN)):
            return MODEL, "name a model, or a run"
        if not self.text(PROMPTS):
            return PROMPTS, "name the prompts: a file, a folder, or a dataset on the hub"
        return ("", "") if self.text(OUT) else (OUT, "name a file")

    def wrong(self, keys: tuple[str, ...]) -> tuple[str, str]:
        """The first of the keys whose value is wrong, and why; empty where none is."""
        return next(((key, why) for key in keys if (why := self.error(key))), ("", ""))

    def words(self) -> list[str]:
        """The command line that makes them, without the program. Raises RecipeError."""
        self.draft.recipe()
        words = ["data", "make"]
        for key in KEYS:
            if key in self.draft.values and self.draft.value(key) != KEYS[key].default:
                words += flag_words(key, self.draft.value(key))
        if self.own[RUN]:
            words += ["--from", self.own[RUN]]
            words += [] if self.folder == runs_folder(None) else ["--runs", str(self.folder)]
        return [*words, "--out", self.own[OUT]]

    def command_line(self) -> str:
        """The same as it can be typed; "" while a value is wrong."""
        try:
            return f"{program()} {shlex.join(self.words())}"
        except RecipeError:
            return ""

    @property
    def file(self) -> Path:
        """Where the pairs go. Raises RecipeError."""
        return expanded(self.own[OUT], "--out").absolute()

    def to_train(self) -> dict[str, Any]:
        """The recipe's tables that train on them. Raises MioError."""
        if self.own[RUN]:
            run = find(self.folder, self.own[RUN])
            return on_pairs(read_toml(run.recipe), run, self.file)
        made = with_pairs(self.tables, self.file)
        return {**made, "model": {**dict(made.get("model") or {}), **self.draft.tables().get("model", {})}}

    def _run_error(self) -> str:
        try:
            run = find(self.folder, self.own[RUN])
        except (MioError, OSError, ValueError) as error:
            return str(error)
        return "" if run.adapter.exists() else "it has no adapter yet"

    def _out_error(self) -> str:
        try:
            file = self.file
        except RecipeError as error:
            return str(error).removeprefix(f"--out {self.own[OUT]}: ")
        if file.suffix not in ENDINGS:
            return "the pairs are written as JSONL: name a .jsonl file"
        if not file.parent.is_dir():
            return f"no such folder {file.parent}"
        if file.exists() and not file.with_name(f"{file.name}{WORK}").exists():
            return "is there, and was not made here; name another"
        return ""


def of_line(row: Mapping[str, Any], file: Path) -> dict[str, Any]:
    """The recipe's tables that train on a file of which this is a line, by what that says of its making."""
    model = {key: row[name] for key, name in (("name", "model"), ("revision", "revision"))
             if isinstance(row.get(name), str) and row[name]}  # fmt: skip
    tables: dict[str, Any] = {"model": model} if model.get("name") else {}
    if isinstance(row.get("adapter"), str) and row["adapter"]:
        tables["lora"] = {"init_adapter": row["adapter"]}
    return with_pairs(tables, file)


def free_name() -> str:
    """A file's name that nothing here has."""
    names = (f"{NAME}{'' if number == 1 else f'-{number}'}{ENDINGS[0]}" for number in itertools.count(1))
    return next(name for name in names if not os.path.lexists(name) and not os.path.lexists(f"{name}{WORK}"))


def made_files() -> list[Path]:
    """The files of pairs in the current folder that were made, or are to be made on."""
    with suppress(OSError):
        found = sorted(path.with_name(path.name.removesuffix(WORK)) for path in Path.cwd().glob(f"*{WORK}"))
        return [path for path in found if path.suffix in ENDINGS]
    return []


def _no_folder(name: str) -> str:
    return f"no such folder: {name}" if stock.names_folder(name) and not stock.is_folder(name) else ""


def _no_file(name: str) -> str:
    meant = stock.is_path(name) or name.lower().endswith((*DATA_ENDINGS, ".txt"))
    return f"no such file: {name}" if meant and not os.path.exists(os.path.expanduser(name)) else ""
