"""A run in a few words, from its status.json and its user's remarks, which may hold anything."""

import re
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from mio_local.errors import RunError
from mio_local.runs.directory import LIVE, RESUMABLE, Run
from mio_local.runs.events import is_number
from mio_local.runs.queue import ahead_of
from mio_local.runs.remarks import read_remarks
from mio_local.text import visible_line

if TYPE_CHECKING:
    from mio_local.recipe import Recipe

DAMAGED = "damaged"
NOBODY = "nobody starts it"  # of a queued run whose process is gone
STATES = (*LIVE, *RESUMABLE, "done")
ROUNDING = 1e-4  # nats: log-probs of one model, computed in batches of two shapes, differ by some 1e-6 of them
SETTINGS = ("learning_rate", "beta", "rank")
SETTING = re.compile(rf"^({'|'.join(SETTINGS)}) *= *([-+.\w]{{1,40}})", re.MULTILINE)  # in a frozen recipe, a line each
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
    "reward overfitting": "warning",
    "slipping": "warning",
    "far from base": "warning",
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
    """What a list shows of a run. Figures are None where unknown: `change` is the chosen answers' change in nats,
    `accuracy` None too while the model is still its own reference. `after`: the run that it waits for, "" where it
    waits for none. `verdict` is a line, "" where there is none yet;
    `remark` and `tags` are its user's."""

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
    loss: float | None = None
    rate: float | None = None
    beta: float | None = None
    rank: float | None = None
    verdict: str = ""
    verdict_level: str = "unknown"
    after: str = ""
    tags: tuple[str, ...] = ()
    remark: str = ""

    @property
    def live(self) -> bool:
        return self.state in LIVE


def facts(recipe: "Recipe") -> dict[str, Any]:
    """What status.json says of a run's settings, for lists of runs."""
    return {
        "loss_name": recipe.loss.name, "model": Path(recipe.model.name).name, "data": Path(recipe.data.source).name,
        "learning_rate": recipe.train.learning_rate, "beta": recipe.loss.beta, "rank": recipe.lora.rank,
    }  # fmt: skip


def row_of(run: Run) -> Row:
    """A run's row; one whose files make no sense is listed as damaged."""
    try:
        row = _row(run, run.read_status())
    except (RunError, OSError, ValueError, TypeError, AttributeError, RecursionError) as error:
        row = Row(run.name, DAMAGED, note=str(error).replace(f"{run.path}/", ""))  # the name beside it says where
    own = read_remarks(run)
    return replace(row, remark=own.note, tags=own.tags)


def accuracy(figures: dict[str, Any]) -> float | None:
    """The share of pairs whose chosen answer gained more; None before the first step, where log-probs have moved by
    rounding alone, and that share says nothing."""
    moved = [_figure(figures, f"delta/{side}") for side in ("chosen", "rejected")]
    still = all(change is not None and abs(change) < ROUNDING for change in moved)
    return None if still else _figure(figures, "rewards/accuracies")


def _row(run: Run, status: dict[str, Any]) -> Row:
    figures = status.get("held_out") or status.get("metrics") or {}
    step, total = status.get("step", 0), status.get("total_steps")
    state = str(status["state"])
    settings = status if "rank" in status else _frozen(run)
    verdict = verdict_of(status)
    return Row(
        name=run.name,
        state=state if state in STATES else DAMAGED,
        objective=str(status.get("loss_name", "")),
        model=str(status.get("model", "")),
        data=str(status.get("data", "")),
        step=f"{step}/{total}" if total and state != "done" else f"{step}",
        change=_figure(figures, "delta/chosen"),
        accuracy=accuracy(figures),
        note=note_of(status),
        time=_figure(status, "time") or 0.0,
        loss=_figure(figures, "loss"),
        rate=_figure(settings, "learning_rate"),
        beta=_figure(settings, "beta"),
        rank=_figure(settings, "rank"),
        verdict=verdict.line if verdict else "",
        verdict_level=verdict.level if verdict else "unknown",
        after=ahead_of(status) if status["waits"] else "",
    )


def _frozen(run: Run) -> dict[str, float]:
    """The settings of a run whose status.json does not tell them yet. Its recipe is looked through for their lines
    alone, as reading all of it takes ten times as long."""
    try:
        found = SETTING.findall(run.recipe_text())
        return {name: float(value) for name, value in found}
    except (OSError, ValueError):
        return {}


def _figure(figures: dict[str, Any], key: str) -> float | None:
    value = figures.get(key)
    return value if is_number(value) else None


def in_line(place: int, after: str) -> str:
    """Which one in line a run is, and what it waits for: 2nd in line, after mio-2."""
    teen = 10 <= place % 100 < 20
    ending = "th" if teen else {1: "st", 2: "nd", 3: "rd"}.get(place % 10, "th")
    return f"{place}{ending} in line, after {after}" if place else f"after {after}"


def note_of(status: dict[str, Any], place: int = 0) -> str:
    """What there is to say beside the state: what is done, or waited for, at which `place` in line, where, or why it
    ended."""
    state = str(status["state"])
    if state == "queued":
        return in_line(place, ahead_of(status)) if status["waits"] else str(status.get("reason") or NOBODY)
    if status["away"]:
        return f"on {status['away']}"
    if state == "starting" and status.get("doing"):
        of = f" {status.get('done', 0)}/{status['total']}" if status.get("total") else ""
        return f"{status['doing']}{of}"
    if state == "lost":
        return "its process is gone"
    return str(status.get("reason", "")) if state in ("failed", DAMAGED) else ""
