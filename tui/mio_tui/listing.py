"""The list of runs as data: read from the folder, filtered, ordered, and made into cells."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.text import Text
from textual.app import App

from mio_local.errors import RunError
from mio_local.runs import LIVE, list_runs
from mio_tui import text
from mio_tui.text import STATES, line, number, paint

SORTS = ("age", "state", "name", "objective", "change")
ORDER = tuple(STATES)


@dataclass(frozen=True)
class Row:
    """What the list shows of a run; `change` is the chosen answers' change in nats, None where unknown."""

    name: str
    state: str
    objective: str = ""
    model: str = ""
    data: str = ""
    step: str = ""
    change: float | None = None
    accuracy: float | None = None
    note: str = ""
    time: float = 0.0

    @property
    def live(self) -> bool:
        return self.state in LIVE


def read(folder: Path) -> list[Row]:
    """Every run in the folder, newest first; one whose files make no sense is listed as damaged."""
    rows: list[Row] = []
    for run in list_runs(folder):
        try:
            rows.append(_row(run.name, run.read_status()))
        except (RunError, OSError, ValueError, TypeError, AttributeError, RecursionError) as error:
            rows.append(Row(run.name, "damaged", note=str(error)))
    return rows


def _row(name: str, status: dict[str, Any]) -> Row:
    figures = status.get("held_out") or status.get("metrics") or {}
    step, total = status.get("step", 0), status.get("total_steps")
    state = str(status["state"])
    shown = f"{step}/{total}" if total and state != "done" else f"{step}"
    return Row(
        name, state if state in STATES else "damaged", str(status.get("loss_name", "")), str(status.get("model", "")),
        str(status.get("data", "")), shown, _figure(figures, "delta/chosen"), _figure(figures, "rewards/accuracies"),
        _note(status, state), _figure(status, "time") or 0.0,
    )  # fmt: skip


def _figure(figures: dict[str, Any], key: str) -> float | None:
    value = figures.get(key)
    return value if number(value) != text.NONE else None


def _note(status: dict[str, Any], state: str) -> str:
    if state == "starting" and status.get("doing"):
        of = f" {status.get('done', 0)}/{status['total']}" if status.get("total") else ""
        return f"{status['doing']}{of}"
    if state == "lost":
        return "its process is gone"
    return str(status.get("reason", "")) if state in ("failed", "damaged") else ""


def columns(wide: bool) -> tuple[str, ...]:
    """The table's columns."""
    if wide:
        return ("", "run", "loss", "model", "step", "Δchosen", "acc", "when")
    return ("", "run", "loss", "model", "step", "Δchosen", "acc")


def cells(app: App[Any], row: Row, marked: bool, wide: bool) -> list[Text]:
    """A run's cells."""
    sign, variable = STATES[row.state]
    arrow = "" if row.change is None or not row.live else " ↑" if row.change >= 0 else " ↓"
    when = row.state if row.live or row.note or row.state == "queued" else text.ago(text.now() - row.time)
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
