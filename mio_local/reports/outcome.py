"""How a run went, by its events: did the chosen answers become more likely than at the start, and stay so?"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from mio_local.objectives.intervals import half, proportion, standard_error
from mio_local.recipe import Recipe
from mio_local.runs.fields import number
from mio_local.runs.history import History

LEAST = 0.0005  # nats: less is not shown
WINDOWS = 10  # parts of a run without held-out pairs whose means are judged


@dataclass(frozen=True)
class Outcome:
    """`mark`: yes (rose and stayed), partly, level (no change that can be told), no (fell), diverged, unknown. `low`
    and `high` bound the accuracy; `uncertain` is half of the chosen answers' 95 % interval."""

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
    step: int | None = None
    where: str = "held out"


def start_of(recipe: Recipe) -> str:
    """What a run is compared with, in words."""
    return "the model it began with" if recipe.lora.init_adapter else "the untrained model"


def judge(history: History) -> Outcome:
    """The outcome by the held-out pairs; without any evaluation, by the training batches."""
    evals = history.of("eval")
    if step := _diverged(history):
        return Outcome("diverged", f"The run diverged at step {step}.", "From there its figures are no numbers.",
                       step=step)  # fmt: skip
    if evals:
        steps, chosen = history.column("eval", "delta/chosen")
        later = (steps > 0) & np.isfinite(chosen)
        if not later.any():
            return Outcome("unknown", "There are no figures yet that could tell how it went: it has not been evaluated "
                           "since it began.")  # fmt: skip
        stderr = number(evals[-1], "delta/chosen_stderr")
        return _judged(history, steps[later], chosen[later], evals[-1], "held out", stderr)
    steps, chosen = history.column("step", "delta/chosen")
    steps, chosen = steps[np.isfinite(chosen)], chosen[np.isfinite(chosen)]
    if len(steps):
        parts = np.array_split(np.arange(len(steps)), min(WINDOWS, len(steps)))
        means = np.array([math.fsum(chosen[part] / len(part)) for part in parts])
        ends = np.array([steps[part[-1]] for part in parts])
        last = chosen[parts[-1]]
        shown = _mean(history.of("step")[-len(last) :])
        return _judged(history, ends, means, shown, "training batches", standard_error(last))
    return Outcome("unknown", "There are no figures yet that could tell how it went.")


def _diverged(history: History) -> int:
    """The step at which the trainer gave up over what is no number, or whose evaluation, the last one, is none; 0 for
    a run that did not diverge."""
    noted = [note["step"] for note in history.of("note") if note.get("code") == "nonfinite"]
    last = history.last("eval")
    if last.get("step") and number(last, "delta/chosen") is None:
        return last["step"]
    return noted[-1] if noted else 0


def _mean(events: list[dict[str, Any]]) -> dict[str, Any]:
    """The mean of the figures of the last batches: a single one says little."""
    found: dict[str, Any] = {}
    for key in ("delta/chosen", "delta/rejected", "rewards/accuracies"):
        values = [value for event in events if (value := number(event, key)) is not None]
        found[key] = math.fsum(values) / len(values) if values else None
    return found


def _judged(
    history: History, steps: np.ndarray, chosen: np.ndarray, last: dict[str, Any], where: str, stderr: float | None
) -> Outcome:
    now, count = float(chosen[-1]), len(chosen)
    rejected, accuracy, pairs = (number(last, key) for key in ("delta/rejected", "rewards/accuracies", "pairs"))
    pairs = int(pairs) if pairs is not None and pairs >= 1 else None
    unsure = half(stderr)
    margin = max(unsure or 0.0, LEAST)
    start = start_of(history.recipe)
    below = chosen < -margin
    top, bottom = int(np.argmax(chosen)), int(np.argmin(chosen))
    evals = "evaluation" if where == "held out" else "part"
    if unsure is None:
        mark, headline = "unknown", f"Whether the chosen answers became more likely than in {start} cannot be told."
        detail = f"They changed by {now:+.3f} nats per answer, and how sure that is was not recorded."
    elif abs(now) <= margin:
        mark, headline = "level", f"The chosen answers are about as likely as in {start}."
        detail = f"At the end the change is {now:+.3f} nats per answer, too little to be told from none."
    elif now > 0 and not below.any():
        mark, headline = "yes", f"The chosen answers became more likely than in {start}, and stayed so."
        detail = (f"They gained {now:+.3f} nats per answer, and at no {evals} of {count} were they measurably below "
                  "the start.")  # fmt: skip
    elif now > 0:
        mark, headline = "partly", f"The chosen answers ended more likely than in {start}, but were less so."
        detail = (f"They gained {now:+.3f} nats per answer in the end; the lowest was {chosen[bottom]:+.3f} at step "
                  f"{steps[bottom]:.0f}, and {int(below.sum())} of {count} {evals}s were measurably below the "
                  "start.")  # fmt: skip
    else:
        mark, headline = "no", f"The chosen answers became less likely than in {start}."
        detail = f"They changed by {now:+.3f} nats per answer"
        if chosen[top] > margin:
            headline = f"The chosen answers rose, then became less likely than in {start}."
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
        unsure, int(steps[-1]), where,
    )  # fmt: skip
