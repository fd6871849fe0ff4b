"""How long a run has worked, and how long it has to go: from the times in its events alone."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mio_local.runs.history import History, is_number

LEAST = 50  # steps that the pace is taken from, where there are as many
SLEEP = 600.0  # seconds


@dataclass(frozen=True)
class Pace:
    """Seconds: `elapsed` up to the newest step, `per_step` with evaluations in it; `last` is that step's Unix time."""

    elapsed: float = 0.0
    per_step: float = math.nan
    last: float = math.nan

    def left(self, steps: int) -> float:
        """Seconds that so many steps will take; NaN where no step was seen yet."""
        return self.per_step * max(steps, 0)

    def idle(self, now: float) -> float:
        """Seconds since the newest step, 0 where that is not long for this run."""
        quiet = now - self.last
        return quiet if quiet > max(30.0, 10 * self.per_step) else 0.0


def pace(history: History, sessions: Sequence[float] = ()) -> Pace:
    """The pace of a run whose trainers were started at `sessions`, Unix seconds.

    The time from one step to the next counts as work, evaluations and checkpoints included; where a pause, a new
    session or the machine's sleep lies between, only the step itself counts. The pace is the mean over the newest
    steps, so that two evaluations are among them, without the first step, which the baseline is evaluated before.
    """
    steps, times = history.column("step", "time")
    _, seconds = history.column("step", "perf/seconds")
    seconds = np.nan_to_num(seconds)
    if not times.size:
        return Pace()
    started = history.last("started").get("time")
    before = np.concatenate([[started if is_number(started) else times[0] - seconds[0]], times[:-1]])
    resumed = [event.get("time") for event in history.of("control") if event.get("command") == "resume"]
    breaks = np.sort(np.array([*(time for time in resumed if is_number(time)), *sessions], np.float64))
    between = np.searchsorted(breaks, times, "right") - np.searchsorted(breaks, before, "right")
    spent = times - before
    odd = (between > 0) | ~np.isfinite(spent) | (spent < 0) | _asleep(history, steps, spent)
    spent = np.where(odd, seconds, spent)
    window = max(LEAST, 2 * history.recipe.eval.every)
    recent = spent[1:][-window:] if spent.size > 1 else seconds
    return Pace(float(spent.sum()), float(recent.mean()), float(times[-1]))


def _asleep(history: History, steps: np.ndarray, spent: np.ndarray) -> np.ndarray:
    """Which steps came so late that the machine must have slept: nothing but an evaluation takes as long."""
    scored, _ = history.column("eval", "loss")
    usual = float(np.median(spent[np.isfinite(spent)])) if np.isfinite(spent).any() else 0.0
    return (spent > max(SLEEP, 20 * usual)) & ~np.isin(steps - 1, scored)
