"""The figures in the table: of each run at a step that all of them reached, and the first less the second."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np

from mio_local.reports.reward_figures import drawn, held_out
from mio_local.runs.history import History, is_number
from mio_tui.chart.axes import value_text
from mio_tui.compare.curves import View
from mio_tui.compare.members import Member
from mio_tui.formatting import NONE, duration


@dataclass(frozen=True)
class Common:
    """The last step that has an event of `kind` in every drawn run; `kind` is empty where there is none."""

    kind: str = ""  # eval, else step
    step: int = 0


@dataclass(frozen=True)
class Figures:
    """A run's figures at the common step, by column; absent ones are missing."""

    values: dict[str, float] = field(default_factory=dict[str, float])

    def cells(self, view: View, columns: Sequence[str]) -> list[str]:
        """As they are written."""
        return [NONE if key not in self.values else _FORMS[key](self.values[key], view) for key in columns]


def common(members: Sequence[Member]) -> Common:
    """Where the drawn runs that have figures can be compared: held out if they can, else on training batches."""
    drawn = [member.watched.past for member in members if member.drawn]
    histories = [history for history in drawn if history.of("eval") or history.of("step")]
    shared: dict[str, set[int]] = {}
    for kind in ("eval", "step"):
        steps = [{event["step"] for event in history.of(kind)} for history in histories]
        shared[kind] = set[int].intersection(*steps) if steps else set()
    found = [Common(kind, max(steps)) for kind, steps in shared.items() if steps]
    # before the first step all runs are equal: training batches say more
    return next((each for each in found if each.step), found[0] if found else Common())


def figures(history: History, at: Common, view: View) -> Figures:
    """A run's figures there: speed (tokens/s, the median), memory (bytes, the peak) and time (s) up to that step."""
    events = [event for event in history.of(at.kind) if event["step"] == at.step]
    if not events:
        return Figures()
    keys = {"chosen": view.key("chosen"), "rejected": view.key("rejected"), "acc": "rewards/accuracies"}
    found = {name: float(value) for name, key in keys.items() if is_number(value := events[-1].get(key))}
    suffix = "_per_token" if view.per_token else ""
    sides = [events[-1].get(f"delta/{side}{suffix}") for side in ("chosen", "rejected")]
    if is_number(sides[0]) and is_number(sides[1]):
        found["margin"] = sides[0] - sides[1]
    found |= _of_rewards(history, at, view)
    for name, key, summary in _SPENT:
        steps, values = history.column("step", key)
        values = values[(steps <= at.step) & np.isfinite(values)]
        if values.size:
            found[name] = float(summary(values))
    return Figures(found)


def columns(found: Iterable[Figures]) -> tuple[str, ...]:
    """The columns of a table: those of rewards only where a run has any."""
    held = {key for each in found for key in each.values}
    return tuple(key for key in _FORMS if key in PLAIN or key in held)


def _of_rewards(history: History, at: Common, view: View) -> dict[str, float]:
    """Reward and pass rate of the greedy answers held out at that step, or where figures are of training batches those
    of the newest round before it; the KL is always of such a round."""
    found: dict[str, float] = {}
    of = held_out if at.kind == "eval" else drawn
    kl = "kl_per_token" if view.per_token else "kl"
    for name, (steps, values) in (("reward", of(history, "reward")), ("pass", of(history, "pass@1")),
                                  ("KL", drawn(history, kl))):  # fmt: skip
        there = np.isfinite(values) & (steps <= at.step)
        if of is held_out and name != "KL":
            there &= steps == at.step
        if there.any():
            found[name] = float(values[there][-1])
    return found


def difference(first: Figures, second: Figures, view: View, columns: Sequence[str]) -> list[str]:
    """First less second, with signs; speed in percent of the second."""
    cells: list[str] = []
    for key in columns:
        if key not in first.values or key not in second.values:
            cells.append(NONE)
            continue
        a, b = first.values[key], second.values[key]
        match key:
            case "tok/s":
                cells.append(_signed(100 * (a - b) / b, "+.0f") + " %" if b else NONE)
            case "mem":
                cells.append(_signed((a - b) / 1e9, "+.1f"))
            case "time":
                gap = duration(abs(a - b))
                cells.append(gap if gap == "0s" else f"{'-' if a < b else '+'}{gap}")
            case "acc" | "reward" | "pass":
                cells.append(_signed(a - b, "+.2f"))
            case _:
                cells.append(_signed(a - b, _form(view)))
    return cells


def heads(view: View, columns: Sequence[str]) -> list[str]:
    """The columns' names."""
    names = {"chosen": "chosen Δ", "rejected": "rejected Δ"} if view.change else {}
    return [names.get(key, key) for key in columns]


def _form(view: View) -> str:
    return "+.3f" if view.per_token else "+.2f"


def _signed(value: float, form: str) -> str:
    """A difference; one that is rounded to nothing has no sign."""
    text = value_text(value, form)
    return text if any(digit in text for digit in "123456789") else "0"


def _thousands(value: float, _: View) -> str:
    return value_text(value / 1000, ".1f") + "k" if value >= 1000 else value_text(value, ".0f")


_FORMS: dict[str, Callable[[float, View], str]] = {
    "chosen": lambda value, view: value_text(value, _form(view)),
    "rejected": lambda value, view: value_text(value, _form(view)),
    "margin": lambda value, view: value_text(value, _form(view)),
    "acc": lambda value, _: value_text(value, ".2f"),
    "reward": lambda value, _: value_text(value, ".2f"),
    "pass": lambda value, _: value_text(value, ".2f"),
    "KL": lambda value, view: value_text(value, _form(view)),
    "tok/s": _thousands,
    "mem": lambda value, _: value_text(value / 1e9, ".1f"),
    "time": lambda value, _: duration(value),
}
PLAIN = tuple(key for key in _FORMS if key not in ("reward", "pass", "KL"))  # which any run may have
_SPENT: tuple[tuple[str, str, Callable[[np.ndarray], float]], ...] = (
    ("tok/s", "perf/tokens_per_second", lambda values: float(np.median(values))),
    ("mem", "perf/memory_peak", lambda values: float(values.max())),
    ("time", "perf/seconds", lambda values: float(values.sum())),
)
