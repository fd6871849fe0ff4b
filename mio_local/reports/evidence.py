"""What the verdict on a run rests on: means with their standard errors, taken from its events, which may hold anything.

With held-out pairs all is of the last evaluation, and of the training batches before it; without any, of those alone.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, NamedTuple

import numpy as np

from mio_local.objectives.intervals import standard_error
from mio_local.recipe import Recipe
from mio_local.reports.means import Mean, Share, mean_of
from mio_local.reports.verdict_of_rewards import Rewards, rewards_of
from mio_local.runs.fields import number
from mio_local.runs.history import History

BATCHES = 30  # steps, the last ones, whose mean is what training batches are like now
OF_BATCHES = (
    "loss", "delta/chosen", "delta/rejected", "rewards/accuracies", "logps/chosen_per_token", "delta/chosen_per_token",
)  # fmt: skip
FORGETTING = "forgetting"  # the benchmark of plain text
KL = "kl"  # the benchmark of the divergence from the reference


class Drift(NamedTuple):
    """KL(policy || reference) in nats: of an answer, of a token, and the lower bound of the latter's 95 % interval."""

    answer: float
    token: float
    token_low: float


@dataclass(frozen=True)
class Evidence:
    """Figures are None where there are none. `per_token` is the chosen answers' log-prob before and now, nats a token.
    `longer`, `shorter` and `alike` are the accuracies where the chosen answer is the longer one, the shorter one, and
    as long as the other. `tasks` are before and after, `texts` is the change of the log of plain text's perplexity,
    nats a token; `drift` is of answers that were drawn, `rewards` of a run of rounds."""

    recipe: Recipe
    step: int
    total: int
    done: bool
    held_out: bool
    errors: dict[str, int]
    vocabulary: float | None
    evals: list[dict[str, Any]]
    chosen: Mean | None
    rejected: Mean | None
    per_token: tuple[float, float] | None
    accuracy: Share | None
    longer: Share | None
    shorter: Share | None
    alike: Share | None
    batches: int
    batch_chosen: Mean | None
    batch_loss: Mean | None
    batch_accuracy: Share | None
    tasks: tuple[Share, Share] | None
    texts: Mean | None
    drift: Drift | None
    rewards: Rewards | None

    @property
    def late(self) -> bool:
        """Whether enough of the run is over to say of what has not happened that it will not."""
        return self.done or 2 * self.step >= self.total


def evidence(history: History) -> Evidence | None:
    """What there is to judge a run by; None where it has not begun."""
    started, evals = history.last("started"), history.of("eval")
    if not (started or evals or history.of("step")):
        return None
    recipe, held_out, until = history.recipe, bool(evals), judged_until(history)
    last = history.last("eval")
    steps = list(islice((event for event in reversed(history.of("step")) if event["step"] <= until), BATCHES))
    pairs = len(steps) * recipe.train.step_pairs
    batches = {key: _of_batches(steps, key, pairs) for key in OF_BATCHES}
    right = Share(one.value, pairs) if (one := batches["rewards/accuracies"]) and 0 <= one.value <= 1 else None
    tasks = [one for event in history.of("task") if (one := _share(event, "accuracy", "questions"))]
    total, vocabulary = number(started, "total_steps"), number(started, "vocabulary")
    vocabulary = vocabulary if vocabulary and vocabulary > 1 else None
    accuracy = _share(last, "rewards/accuracies", "pairs") if held_out else right
    longer, shorter = (_share(last, f"length/{name}_accuracy", f"length/{name}") for name in ("longer", "shorter"))
    return Evidence(
        recipe=recipe,
        step=until,
        total=int(total) if total and 1 <= total < 2**53 else recipe.train.steps,
        done=history.last("finished").get("state") == "done",
        held_out=held_out,
        errors={str(note.get("code")): note["step"] for note in history.of("note") if note.get("level") == "error"},
        vocabulary=vocabulary,
        evals=evals,
        chosen=mean_of(last, "delta/chosen") if held_out else batches["delta/chosen"],
        rejected=mean_of(last, "delta/rejected") if held_out else batches["delta/rejected"],
        per_token=_per_token(last if held_out else {key: one.value for key, one in batches.items() if one}),
        accuracy=accuracy,
        longer=longer,
        shorter=shorter,
        alike=_others(accuracy, longer, shorter),
        batches=len(steps),
        batch_chosen=batches["delta/chosen"],
        batch_loss=batches["loss"],
        batch_accuracy=right,
        tasks=(tasks[0], tasks[-1]) if len(tasks) > 1 else None,
        texts=_texts(history, vocabulary),
        drift=_drift(history),
        rewards=rewards_of(history, until),
    )


def judged_until(history: History) -> int:
    """The last step that a verdict looks at: that of the last evaluation, or where none would be. What came after is
    left to the next one, so that all who read a run between two of them say the same."""
    if evals := history.of("eval"):
        return evals[-1]["step"]
    newest, every = history.last("step").get("step", 0), history.recipe.eval.every
    return newest if history.of("finished") or not every else newest - newest % every


def _share(event: dict[str, Any], key: str, count: str) -> Share | None:
    value, of = number(event, key), number(event, count)
    if value is None or not 0 <= value <= 1:
        return None
    return Share(float(value), int(of) if of is not None and 1 <= of < 2**53 else 0)


def _others(whole: Share | None, *parts: Share | None) -> Share | None:
    """The share of those of `whole` that are in none of the parts; None where there are none."""
    known = [part for part in parts if part]
    count = whole.count - sum(part.count for part in known) if whole else 0
    if not whole or count < 1:
        return None
    right = whole.value * whole.count - sum(part.value * part.count for part in known)
    return Share(min(max(right / count, 0.0), 1.0), count)


def _per_token(figures: dict[str, Any]) -> tuple[float, float] | None:
    now, change = number(figures, "logps/chosen_per_token"), number(figures, "delta/chosen_per_token")
    return None if now is None or change is None else (now - change, now)


def _of_batches(steps: Sequence[dict[str, Any]], key: str, pairs: int) -> Mean | None:
    """The mean over the batches of so many pairs together."""
    values = np.array([value for event in steps if (value := number(event, key)) is not None], np.float64)
    if not len(values):
        return None
    stderr = standard_error(values / len(values)) * len(values)  # what is summed stays finite
    return Mean(math.fsum(values / len(values)), stderr if math.isfinite(stderr) else None, pairs)


def _texts(history: History, vocabulary: float | None) -> Mean | None:
    """The newest change of the log of the perplexity on plain text, nats a token: the trainer's, or `eval`'s. None
    where the base finds the text less likely than random tokens: it has nothing to forget."""
    found = [(event["step"], mean_of(event, "change", "texts"), number(event, "base")) for event in history.of("text")]
    base = None
    for event in history.of("benchmark"):
        if event.get("name") == FORGETTING and event.get("of") == "base":
            base = number(event, "value")
        elif event.get("name") == FORGETTING and event.get("of") == "difference":
            change = mean_of(event | {"value_stderr": event.get("stderr")}, "value", "count")
            found.append((event["step"], change, base))
    if not found:
        return None
    _, change, base = sorted(found, key=lambda one: one[0])[-1]
    return None if base is not None and vocabulary and base > vocabulary else change


def _drift(history: History) -> Drift | None:
    """What `eval` found last."""
    found: dict[str, dict[str, Any]] = {}
    for event in sorted(history.of("benchmark"), key=lambda event: event["step"]):
        if event.get("name") == KL and event.get("of") == "policy":
            found[str(event.get("metric"))] = event
    answer, token = (found.get(f"per_{what}", {}) for what in ("answer", "token"))
    known = number(answer, "value"), number(token, "value"), number(token, "low")
    if any(value is None for value in known):
        return None
    return Drift(*(float(value or 0) for value in known))
