"""The rows of all runs of a folder; what has not changed since is not read again.

Between processes it is kept in the cache folder, where it may be deleted at any time: a row counts only as long as
status.json is the file it was made from. A run that is live is always looked at, as its process may be gone.
"""

import hashlib
import json
import os
from contextlib import suppress
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from mio_local.errors import RunError
from mio_local.runs.directory import Run, list_runs
from mio_local.runs.summary import Row, row_of
from mio_local.storage.json_files import read_json
from mio_local.storage.paths import cache_folder
from mio_local.storage.writing import PRIVATE, private_folder, write_atomically

MANY = 200  # rows that had to be read anew: fewer are read soon enough each time
SETTLED = ("queued", "stopped", "failed", "done")  # any other may change with nothing written: a trainer dies
KINDS = {column.name: column.type for column in fields(Row)}
Seen = tuple[int, ...]  # what tells one status.json from the next


@dataclass
class Index:
    """The runs of `folder`. One object may be asked again and again."""

    folder: Path
    _known: dict[str, tuple[Seen, Row]] = field(default_factory=dict[str, tuple[Seen, Row]])
    _begun: bool = False

    def read(self) -> list[Row]:
        """Every run's row, newest run first. Raises RunError where the folder cannot be listed."""
        if not self._begun:
            self._known, self._begun = self._kept(), True
        rows: list[Row] = []
        known: dict[str, tuple[Seen, Row]] = {}
        fresh = 0
        for run in list_runs(self.folder):
            name, seen = run.name, _seen(run)
            entry = self._known.get(name)
            if not entry or entry[0] != seen:
                entry = seen, row_of(run)
                fresh += entry[1].state in SETTLED
            if seen and entry[1].state in SETTLED:
                known[name] = entry
            rows.append(entry[1])
        self._known = known
        if fresh > MANY:
            self._keep()
        return rows

    @property
    def _file(self) -> Path:
        name = hashlib.sha256(os.fsencode(self.folder.absolute())).hexdigest()[:16]
        return cache_folder() / "runs" / f"{name}.json"

    def _kept(self) -> dict[str, tuple[Seen, Row]]:
        """What another process wrote down; nothing where that makes no sense."""
        with suppress(RunError, OSError, ValueError, TypeError, AttributeError, KeyError):
            kept = read_json(self._file)
            if kept["columns"] == list(KINDS):
                return {name: (tuple(seen), _whole(name, row)) for name, (seen, row) in kept["rows"].items()}
        return {}

    def _keep(self) -> None:
        rows = {name: (seen, list(asdict(row).values())) for name, (seen, row) in self._known.items()}
        with suppress(RunError, OSError):  # a full disk, a folder of somebody else's: it is only quicker with it
            private_folder(self._file.parent)
            write_atomically(self._file, json.dumps({"columns": list(KINDS), "rows": rows}), PRIVATE)


def _seen(run: Run) -> Seen:
    try:
        stat = os.stat(f"{run.path}/status.json")
    except OSError:
        return ()
    return stat.st_ino, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns


def _whole(name: str, values: list[Any]) -> Row:
    """A row as it was written down. Raises TypeError for anything else."""
    row = Row(*values)
    for column, kind in KINDS.items():
        value = getattr(row, column)
        if not isinstance(value, (float, int, type(None)) if "float" in str(kind) else str):
            raise TypeError(column)
    if row.name != name:
        raise TypeError(name)
    return row
