"""How a run went, by its events: did the chosen answers become more likely than in the untrained model, and stay so?"""

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from mio_local.events import is_number
from mio_local.history import History

SURE = 1.96  # standard errors on either side of a 95 % interval
TENTHS = 2.5631  # standard deviations between the first and the ninth decile of a normal distribution
WINDOWS = 10  # parts of a run without held-out pairs whose means are judged


@dataclass(frozen=True)
class Outcome:
    """`mark`: yes (rose and stayed), partly, level (no change that can be told), no (fell), unknown. `figures` are the
    last held-out ones; `low` and `high` bound the accuracy."""

    mark: str
    headline: str
    detail: str = ""
    chosen: float | None = None
    rejected: float | None = None
    margin: float | None = None
    accuracy: float | None = None
    low: float | None = None
    high: float | None = None
    uncertain: float | None = None
    pairs: int | None = None
    step: int | None = None
    where: str = "held out"
    figures: dict[str, Any] = field(default_factory=dict[str, Any])


def judge(history: History) -> Outcome:
    """The outcome by the held-out pairs; without them, by the training batches."""
    steps, chosen = _curve(history, "eval")
    later = steps > 0
    if later.any():
        last = next(event for event in reversed(history.of("eval")) if is_number(event.get("delta/chosen")))
        return _judged(history, steps[later], chosen[later], last, "held out")
    steps, chosen = _curve(history, "step")
    if len(steps):
        parts = np.array_split(np.arange(len(steps)), min(WINDOWS, len(steps)))
        means = np.array([math.fsum(chosen[part] / len(part)) for part in parts])
        ends = np.array([steps[part[-1]] for part in parts])
        return _judged(history, ends, means, _mean(history.of("step")[-len(parts[-1]) :]), "training batches")
    return Outcome("unknown", "There are no figures yet that could tell how it went.")


def _curve(history: History, kind: str) -> tuple[np.ndarray, np.ndarray]:
    steps, chosen = history.column(kind, "delta/chosen")
    there = np.isfinite(steps) & np.isfinite(chosen)
    return steps[there], chosen[there]


def _mean(events: list[dict[str, Any]]) -> dict[str, Any]:
    """The mean of the figures of the last batches: a single one says little."""
    found: dict[str, Any] = {}
    for key in ("delta/chosen", "delta/rejected", "rewards/accuracies"):
        values = [event[key] for event in events if is_number(event.get(key))]
        found[key] = math.fsum(values) / len(values) if values else None
    return found


def _judged(history: History, steps: np.ndarray, chosen: np.ndarray, last: dict[str, Any], where: str) -> Outcome:
    now, count = float(chosen[-1]), len(chosen)
    rejected = last.get("delta/rejected")
    rejected = float(rejected) if is_number(rejected) else None
    accuracy = last.get("rewards/accuracies")
    accuracy = float(accuracy) if is_number(accuracy) else None
    pairs = int(last["pairs"]) if is_number(last.get("pairs")) and last["pairs"] >= 1 else None
    unsure = uncertainty(history, last)
    margin = 0.0005 if unsure is None else max(unsure, 0.0005)
    under = "below the start" if unsure is None else "measurably below the start"
    below = chosen < -margin
    top, bottom = int(np.argmax(chosen)), int(np.argmin(chosen))
    evals = "evaluation" if where == "held out" else "part"
    if abs(now) <= margin:
        mark, headline = "level", "The chosen answers are about as likely as in the untrained model."
        detail = f"At the end the change is {now:+.3f} nats per answer, too little to be told from none."
    elif now > 0 and not below.any():
        mark, headline = "yes", "The chosen answers became more likely than in the untrained model, and stayed so."
        detail = f"They gained {now:+.3f} nats per answer, and at no {evals} of {count} were they {under}."
    elif now > 0:
        mark, headline = "partly", "The chosen answers ended more likely than in the untrained model, but were less so."
        detail = (f"They gained {now:+.3f} nats per answer in the end; the lowest was {chosen[bottom]:+.3f} at step "
                  f"{steps[bottom]:.0f}, and {int(below.sum())} of {count} {evals}s were {under}.")  # fmt: skip
    else:
        mark, headline = "no", "The chosen answers became less likely than in the untrained model."
        detail = f"They changed by {now:+.3f} nats per answer"
        if chosen[top] > margin:
            headline = "The chosen answers rose, then became less likely than in the untrained model."
            detail += f", after {chosen[top]:+.3f} at step {steps[top]:.0f}"
        detail += "."
    low, high = proportion(accuracy, pairs)
    if accuracy is not None:
        of = f"{pairs if pairs else 'the'} held-out pairs" if where == "held out" else "the training pairs"
        detail += f" The chosen answer gained on the rejected one in {accuracy:.1%} of {of}"
        detail += "." if low is None or high is None else f" (95% interval {low:.1%} to {high:.1%})."
    if where != "held out":
        detail += " No pairs were held out, so this is of the training batches: it does not tell how the model does on "
        detail += "what it has not seen."
    return Outcome(
        mark, headline, detail, now, rejected, None if rejected is None else now - rejected, accuracy, low, high,
        unsure, pairs, int(steps[-1]), where, last,
    )  # fmt: skip


def uncertainty(history: History, event: dict[str, Any]) -> float | None:
    """Half of a 95 % interval of the chosen answers' mean change, from the spread of z over the pairs as if that were
    normal; None where the event does not tell, or z is not per answer."""
    loss = history.recipe.loss
    low, high, pairs = (event.get(key) for key in ("z/chosen_p10", "z/chosen_p90", "pairs"))
    if loss.reduction != "sum" or not (is_number(low) and is_number(high) and is_number(pairs)) or pairs < 2:
        return None
    half = SURE * abs(high - low) / TENTHS / loss.beta / math.sqrt(pairs)
    return half if math.isfinite(half) else None


def proportion(share: float | None, count: float | None) -> tuple[float | None, float | None]:
    """Wilson's 95 % interval of a share of `count`; (None, None) where it has none."""
    if share is None or count is None or not 0 <= share <= 1 or not 1 <= count <= 1e15:
        return None, None
    square = SURE**2
    middle = (share + square / (2 * count)) / (1 + square / count)
    half = SURE / (1 + square / count) * math.sqrt(share * (1 - share) / count + square / (4 * count**2))
    return max(0.0, middle - half), min(1.0, middle + half)
