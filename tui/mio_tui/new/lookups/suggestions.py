"""What earlier runs used, and what chats saved: models and data to take again, where they are still there."""

import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mio_local.chat import feedback
from mio_local.errors import MioError
from mio_local.recipe import read_toml
from mio_local.runs import directory
from mio_local.runs.directory import Run
from mio_tui.formatting import ago, now
from mio_tui.new.lookups.ahead import short

DATA_ENDINGS = (".jsonl", ".json", ".csv", ".parquet")
NEWEST_RUNS = 50
MOST = 300
GOES_ALONG = ("split", "revision", "columns", "eval_source", "eval_split")  # with the data of a run


@dataclass(frozen=True)
class Offer:
    """Data to choose: where it is, what it is in words, and the settings by which a run read it, of `data`."""

    source: str
    words: str = ""
    settings: dict[str, Any] = field(default_factory=dict[str, Any])


def used_models(folder: Path) -> dict[str, float]:
    """The models of the newest runs in a folder, as their recipes name them, newest first, and when each was used last,
    Unix seconds."""
    found: dict[str, float] = {}
    for run, tables in _recipes(folder):
        name = _table(tables, "model").get("name")
        if isinstance(name, str) and name:
            found.setdefault(name, _when(run))
    return found


def offered_data(folder: Path) -> list[Offer]:
    """Data that is there: of the newest runs in a folder, pairs that chats saved, and files of the current folder. What
    is named twice is told once, the newest first."""
    found: dict[str, Offer] = {}
    for run, tables in _recipes(folder):
        table = _table(tables, "data")
        source = table.get("source")
        if isinstance(source, str) and source and source not in found and not _is_gone(source):
            settings = {key: table[key] for key in GOES_ALONG if key in table}
            found[source] = Offer(source, f"{short(run.name)}, {ago(now() - _when(run))}", settings)
    for file, name in _chats(folder):
        if count := feedback.saved(file):
            pairs = f"{count:,} {'pair' if count == 1 else 'pairs'}"
            found[str(file)] = Offer(str(file), f"{pairs} of chats{f' with {short(name)}' if name else ''}")
    try:
        here = sorted(
            path.name for path in Path.cwd().iterdir() if path.suffix.lower() in DATA_ENDINGS and path.is_file()
        )
    except OSError:
        here = []
    known = {os.path.realpath(os.path.expanduser(source)) for source in found}
    others = [Offer(name, "in this folder") for name in here if os.path.realpath(name) not in known]
    return [*found.values(), *others][:MOST]


def _recipes(folder: Path) -> Iterator[tuple[Run, dict[str, Any]]]:
    """The newest runs with the tables of their recipes; those that cannot be read are left out."""
    with suppress(MioError):
        for run in directory.list_runs(folder)[:NEWEST_RUNS]:
            with suppress(MioError):
                yield run, read_toml(run.recipe)


def _chats(folder: Path) -> Iterator[tuple[Path, str]]:
    """The files in which chats save pairs, newest run first, and the run of each; the last is of chats without one."""
    with suppress(MioError):
        for run in directory.list_runs(folder):
            yield run.path / feedback.NAME, run.name
    yield folder / feedback.NAME, ""


def _table(tables: dict[str, Any], name: str) -> dict[str, Any]:
    table = tables.get(name)
    return table if isinstance(table, dict) else {}


def _when(run: Run) -> float:
    try:
        return os.stat(run.recipe).st_mtime
    except OSError:
        return 0.0


def _is_gone(source: str) -> bool:
    """Whether data that was a file or a folder is there no more; of a name on the hub nothing is asked."""
    path = os.path.expanduser(source)
    is_file = source.startswith(("/", ".", "~")) or source.lower().endswith(DATA_ENDINGS)
    return is_file and not os.path.exists(path)
