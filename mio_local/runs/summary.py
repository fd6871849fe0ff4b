"""A run in a few words, from its status.json and its user's remarks, which may hold anything."""

from dataclasses import dataclass, replace
from typing import Any

from mio_local.errors import RunError
from mio_local.runs.directory import LIVE, RESUMABLE, Run
from mio_local.runs.events import is_number
from mio_local.runs.queue import ahead_of
from mio_local.runs.remarks import read_remarks

DAMAGED = "damaged"
NOBODY = "nobody starts it"  # of a queued run whose process is gone
STATES = (*LIVE, *RESUMABLE, "done")


@dataclass(frozen=True)
class Row:
    """What a list shows of a run; `change` is the chosen answers' change in nats, None where unknown. `after`: the run
    that it waits for, "" where it waits for none. `remark` and `tags` are its user's."""

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
    after: str = ""
    remark: str = ""
    tags: tuple[str, ...] = ()

    @property
    def live(self) -> bool:
        return self.state in LIVE


def row_of(run: Run) -> Row:
    """A run's row; one whose files make no sense is listed as damaged."""
    try:
        row = _row(run.name, run.read_status())
    except (RunError, OSError, ValueError, TypeError, AttributeError, RecursionError) as error:
        row = Row(run.name, DAMAGED, note=str(error))
    own = read_remarks(run)
    return replace(row, remark=own.note, tags=own.tags)


def _row(name: str, status: dict[str, Any]) -> Row:
    figures = status.get("held_out") or status.get("metrics") or {}
    step, total = status.get("step", 0), status.get("total_steps")
    state = str(status["state"])
    shown = f"{step}/{total}" if total and state != "done" else f"{step}"
    return Row(
        name, state if state in STATES else DAMAGED, str(status.get("loss_name", "")), str(status.get("model", "")),
        str(status.get("data", "")), shown, _figure(figures, "delta/chosen"), _figure(figures, "rewards/accuracies"),
        note_of(status), _figure(status, "time") or 0.0, ahead_of(status) if status["waits"] else "",
    )  # fmt: skip


def _figure(figures: dict[str, Any], key: str) -> float | None:
    value = figures.get(key)
    return value if is_number(value) else None


def note_of(status: dict[str, Any]) -> str:
    """What there is to say beside the state: what is done, or waited for, where, or why it ended."""
    state = str(status["state"])
    if state == "queued":
        return f"after {ahead_of(status)}" if status["waits"] else str(status.get("reason") or NOBODY)
    if status["away"]:
        return f"on {status['away']}"
    if state == "starting" and status.get("doing"):
        of = f" {status.get('done', 0)}/{status['total']}" if status.get("total") else ""
        return f"{status['doing']}{of}"
    if state == "lost":
        return "its process is gone"
    return str(status.get("reason", "")) if state in ("failed", DAMAGED) else ""
