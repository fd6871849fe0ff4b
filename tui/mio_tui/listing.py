"""The list of runs: filtered, ordered, and made into cells."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.text import Text
from textual.app import App

from mio_local.runs.summary import Row
from mio_tui import formatting
from mio_tui.formatting import STATES, line, number, paint

SORTS = ("age", "state", "name", "objective", "change")
ORDER = tuple(STATES)


def columns(wide: bool) -> tuple[str, ...]:
    """The table's columns."""
    if wide:
        return ("", "run", "loss", "model", "step", "Δchosen", "acc", "when")
    return ("", "run", "loss", "model", "step", "Δchosen", "acc")


def ages(rows: Sequence[Row]) -> list[str]:
    """How long ago each run was written to, in words."""
    return [formatting.ago(formatting.now() - row.time) for row in rows]


def cells(app: App[Any], row: Row, marked: bool, wide: bool) -> list[Text]:
    """A run's cells."""
    sign, variable = STATES[row.state]
    arrow = "" if row.change is None or not row.live else " ↑" if row.change >= 0 else " ↓"
    when = row.state if row.live or row.note or row.state == "queued" else formatting.ago(formatting.now() - row.time)
    name = line(row.name, 26 if wide else 20, "bold" if row.live else "")
    made = [
        Text(f"{'▸' if marked else ' '}{sign}", style=paint(app, variable)),
        name,
        line(row.objective.upper(), 6),
        line(row.model, 22 if wide else 14),
        line(row.step, 12),
        _right(number(row.change) + arrow),
        _right(number(row.accuracy, ".2f")),
    ]
    return [*made, line(f"{when}: {row.note}" if row.note else when, 24)] if wide else made


def _right(figure: str) -> Text:
    made = line(figure, 12)
    made.justify = "right"
    return made


def arrange(rows: Sequence[Row], words: str, sort: str) -> list[Row]:
    """The rows that hold every word, in that order; those alive first."""
    kept = [row for row in rows if all(word in _haystack(row) for word in words.lower().split())]
    keys = {
        "age": lambda row: 0,
        "state": lambda row: ORDER.index(row.state),
        "name": lambda row: row.name.lower(),
        "objective": lambda row: (row.objective, row.model),
        "change": lambda row: -(row.change if row.change is not None else float("-inf")),
    }
    return sorted(kept, key=lambda row: (not row.live, keys[sort](row)))


def _haystack(row: Row) -> str:
    return " ".join((row.name, row.model, row.objective, row.state, row.data)).lower()


def head(rows: Sequence[Row], folder: Path, sort: str, words: str) -> Text:
    """The first row of the screen."""
    living = sum(row.live for row in rows)
    made = Text("mio-local", style="bold").append(f"   runs {len(rows)}", style="not bold")
    if living:
        made.append(f" · ● {living} training", style="bold")
    if rows:
        made.append(f"   by {sort}", style="not bold")
    if words:
        made.append("   filter ").append_text(line(words, 30))
    return made


def empty(folder: Path) -> Text:
    """What stands where no run is."""
    return (
        Text("No runs yet\n\n", style="bold")
        .append(" n  New run: pick a model, a preference dataset, start\n", style="not bold")
        .append(" d  Demo: two small runs, MIO then DPO, on the shipped model (no download)\n\n", style="not bold")
        .append("Runs live in ", style="not bold")
        .append_text(line(folder, 300))
    )
