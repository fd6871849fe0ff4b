"""The figures of one or several runs as CSV: a row for each run and event (steps, evaluations, rounds, held-out
rewards), a column for each figure."""

import csv
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mio_local.runs.history import History, is_number
from mio_local.storage.writing import write_atomically

KINDS = ("step", "eval", "round", "reward")
LEADING = ("run", "kind", "step", "time")


def write_csv(histories: Sequence[History], out: Path) -> int:
    """Write `out`, beside it first; the number of rows. What is no number is left empty. Raises OSError."""
    rows: list[dict[str, Any]] = []
    for history in histories:
        for kind in KINDS:
            for event in history.of(kind):
                figures = {key: value for key, value in event.items() if is_number(value)}
                rows.append({**figures, "run": history.run.name, "kind": kind})
    columns = sorted({key for row in rows for key in row} - set(LEADING))
    text = io.StringIO()
    writer = csv.DictWriter(text, [*LEADING, *columns], restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    # a folder's name need not be text: its other bytes are written as codes
    write_atomically(out, text.getvalue().encode("utf-8", "backslashreplace").decode("utf-8"))
    return len(rows)
