"""A row of a dataset, whatever file it came from."""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Row:
    """One row: its values by column, and its place (`train.jsonl line 17`, `demo.json row 3`)."""

    values: dict[str, Any]
    where: str
