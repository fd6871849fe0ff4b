"""A run in a few words, from its status.json, which may hold anything."""

from dataclasses import asdict, dataclass
from typing import Any, Literal

from mio_local.errors import RunError
from mio_local.runs.directory import LIVE, RESUMABLE, Run
from mio_local.runs.events import is_number
from mio_local.text import visible_line

DAMAGED = "damaged"
STATES = (*LIVE, *RESUMABLE, "done")
Level = Literal["good", "warning", "bad", "unknown"]
LEVELS: dict[str, Level] = {
    "healthy": "good",
    "too early to tell": "unknown",
    "cannot tell": "unknown",
    "nothing moves": "warning",
    "at chance": "warning",
    "both rise": "warning",
    "learns length": "warning",
    "perhaps length": "warning",
    "overfitting": "warning",
    "slipping": "warning",
    "wrong way round": "bad",
    "forgetting": "bad",
    "diverged": "bad",
    "bad start": "bad",
}
KINDS = tuple(LEVELS)
LONGEST_WORDS = 240  # characters of the words, and of the advice


@dataclass(frozen=True)
class Verdict:
    """How a run goes, in a line, as `reports.verdict` makes it: `kind` is one of KINDS, `words` the reason in figures,
    `advice` what to do next, empty where that is nothing."""

    kind: str
    words: str
    advice: str = ""

    @property
    def line(self) -> str:
        return f"{self.kind}: {self.words}{'; ' * bool(self.advice)}{self.advice}"

    @property
    def level(self) -> Level:
        return LEVELS[self.kind]

    def kept(self) -> dict[str, str]:
        """What status.json holds of it."""
        return asdict(self)


def verdict_of(status: dict[str, Any]) -> Verdict | None:
    """The verdict in a status.json, which may hold anything; None for none that makes sense."""
    held = status.get("verdict")
    if not isinstance(held, dict):
        return None
    kind, words, advice = (held.get(key) for key in ("kind", "words", "advice"))
    if not (isinstance(kind, str) and isinstance(words, str) and isinstance(advice, str) and kind in LEVELS):
        return None
    return Verdict(kind, visible_line(words, LONGEST_WORDS), visible_line(advice, LONGEST_WORDS))


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
