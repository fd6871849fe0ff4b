"""A run in a few words, from its status.json, which may hold anything."""

from dataclasses import dataclass
from typing import Any

from mio_local.errors import RunError
from mio_local.runs.directory import LIVE, RESUMABLE, Run
from mio_local.runs.events import is_number
from mio_local.runs.verdict_line import verdict_of

DAMAGED = "damaged"
STATES = (*LIVE, *RESUMABLE, "done")


@dataclass(frozen=True)
class Row:
    """What a list shows of a run; `change` is the chosen answers' change in nats, None where unknown; `verdict` is its
    line, empty where the run has none yet."""

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
    verdict: str = ""
    verdict_level: str = "unknown"

    @property
    def live(self) -> bool:
        return self.state in LIVE


def row_of(run: Run) -> Row:
    """A run's row; one whose files make no sense is listed as damaged."""
    try:
        return _row(run.name, run.read_status())
    except (RunError, OSError, ValueError, TypeError, AttributeError, RecursionError) as error:
        return Row(run.name, DAMAGED, note=str(error))


def _row(name: str, status: dict[str, Any]) -> Row:
    figures = status.get("held_out") or status.get("metrics") or {}
    step, total = status.get("step", 0), status.get("total_steps")
    state = str(status["state"])
    shown = f"{step}/{total}" if total and state != "done" else f"{step}"
    verdict = verdict_of(status)
    return Row(
        name, state if state in STATES else DAMAGED, str(status.get("loss_name", "")), str(status.get("model", "")),
        str(status.get("data", "")), shown, _figure(figures, "delta/chosen"), _figure(figures, "rewards/accuracies"),
        _note(status, state), _figure(status, "time") or 0.0, verdict.line if verdict else "",
        verdict.level if verdict else "unknown",
    )  # fmt: skip


def _figure(figures: dict[str, Any], key: str) -> float | None:
    value = figures.get(key)
    return value if is_number(value) else None


def _note(status: dict[str, Any], state: str) -> str:
    if state == "starting" and status.get("doing"):
        of = f" {status.get('done', 0)}/{status['total']}" if status.get("total") else ""
        return f"{status['doing']}{of}"
    if state == "lost":
        return "its process is gone"
    return str(status.get("reason", "")) if state in ("failed", DAMAGED) else ""
