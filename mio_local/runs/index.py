"""The rows of all runs of a folder; what has not changed since is not read again.

Between processes it is kept in the cache folder, where it may be deleted at any time: a row counts only as long as
status.json and the remarks are the files it was made from. A run that is live or queued is always looked at, as its
process may be gone.
"""

import hashlib
import json
import math
import os
import time
from contextlib import suppress
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from mio_local.errors import RunError
from mio_local.runs.directory import Run, list_runs
from mio_local.runs.queue import place_in_line
from mio_local.runs.remarks import FILE
from mio_local.runs.summary import Row, in_line, row_of
from mio_local.storage.json_files import read_json
from mio_local.storage.paths import cache_folder
from mio_local.storage.writing import PRIVATE, private_folder, write_atomically

MANY = 200  # rows that had to be read anew: fewer are read soon enough each time
SETTLED = ("stopped", "failed", "done")  # any other may change with nothing written: a trainer dies
KINDS = {column.name: str(column.type) for column in fields(Row)}
NUMBER = (float, int)
TYPES = [  # of a row as it was written down
    tuple if "tuple" in kind else str if "str" in kind else (*NUMBER, type(None)) if "None" in kind else NUMBER
    for kind in KINDS.values()
]
Seen = tuple[int, ...]  # what tells one version of the files from the next


@dataclass
class Index:
    """The runs of `folder`. One object may be asked again and again."""

    folder: Path
    left: int = 0
    _known: dict[str, tuple[Seen, Row]] = field(default_factory=dict[str, tuple[Seen, Row]])
    _begun: bool = False
    _fresh: int = 0  # rows that were read since they were written down

    def read(self, patience: float = math.inf) -> list[Row]:
        """Every run's row, newest run first. After `patience` seconds of reading anew, what else must be read is left
        out, and counted by `left`: ask again for it. Raises RunError where the folder cannot be listed."""
        if not self._begun:
            self._known, self._begun = self._kept(), True
        rows: list[Row] = []
        known: dict[str, tuple[Seen, Row]] = {}
        left, spent = 0, 0.0
        for run in list_runs(self.folder):
            name, seen = run.name, _seen(run)
            entry = self._known.get(name)
            if not entry or entry[0] != seen:
                if spent >= patience:
                    left += 1
                    continue
                began = time.monotonic()
                entry = seen, row_of(run)
                spent += time.monotonic() - began
                self._fresh += entry[1].state in SETTLED
            if entry[1].state in SETTLED:
                known[name] = entry
            rows.append(entry[1])
        self._known, self.left = known, left
        if self._fresh > MANY and not left:
            self._keep()
            self._fresh = 0
        ahead = {row.name: row.after for row in rows if row.after}
        if not ahead or left:  # of a part of the runs no place is known
            return rows
        places = {name: place_in_line(name, lambda one: ahead.get(one, "")) for name in ahead}
        return [replace(row, note=in_line(places[row.name], row.after)) if row.after else row for row in rows]

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
    found: list[int] = []
    for name in ("status.json", FILE):
        try:
            stat = os.stat(f"{run.path}/{name}")
        except OSError:
            found.append(0)
        else:
            found += stat.st_ino, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns
    return tuple(found)


def _whole(name: str, values: list[Any]) -> Row:
    """A row as it was written down. Raises TypeError for anything else."""
    values = [tuple(value) if isinstance(value, list) else value for value in values]
    if len(values) != len(KINDS) or values[0] != name or not all(map(isinstance, values, TYPES)):
        raise TypeError(name)
    row = Row(*values)
    if row.state not in SETTLED or row.tags != tuple(map(str, row.tags)):
        raise TypeError(name)
    return row
