"""About how long a run will train, from what an earlier one like it took.

A run's time is that of its steps, by their tokens; of the reference's passes in the first epoch, which later ones do
not repeat; and of its evaluations, the first of which computes the reference of the held-out pairs. Not in it: reading
the data and loading the model.
"""

import itertools
import statistics
from collections.abc import Sequence, Set
from dataclasses import dataclass
from typing import Any

from mio_local.objectives.losses import LOSSES
from mio_local.objectives.schedule import steps_per_epoch, total_steps
from mio_local.recipe import LossSettings, Recipe
from mio_local.runs.fields import number
from mio_local.runs.history import History

AFTER_STEP = ("eval", "sample", "text", "task")  # what an evaluation writes
SLOWER = ("train.batch_size", "train.accumulate", "train.batch_tokens", "train.grad_checkpoint", "data.max_tokens",
          "lora.rank", "lora.layers", "lora.targets", "lora.dora", "lora.dropout", "speed", "eval",
          "loss.name")  # fmt: skip


@dataclass(frozen=True)
class Speed:
    """What a run took: seconds a token in its steps, of which a prompt counts twice, and on the reference besides, in
    the first epoch; seconds between two steps, of writing, say; seconds more in the first step; seconds of the first
    evaluation and of a later one, and of how many pairs; tokens a pair."""

    token: float
    reference: float
    between: float
    warm_up: float
    first_evaluation: float
    evaluation: float
    scored: int
    tokens_a_pair: float


@dataclass(frozen=True)
class Plan:
    """What a run is to do: steps, tokens of all of them and of one epoch, evaluations after the first, and how many
    pairs each scores; 0 for no evaluation at all."""

    steps: int
    tokens: float
    epoch_tokens: float
    evaluations: int
    scored: int


def speed_of(history: History) -> Speed | None:
    """How fast a run was; None before its second step, or where its events do not tell."""
    steps = [found for event in history.of("step") if (found := _step(event))]
    if len(steps) < 2:
        return None
    tokens, seconds = sum(one.tokens for one in steps[1:]), sum(one.seconds for one in steps[1:])
    first_epoch = [one for one in steps[1:] if one.first] or steps[1:]
    own = (seconds - sum(one.reference for one in steps[1:])) / tokens
    reference = sum(one.reference for one in first_epoch) / sum(one.tokens for one in first_epoch)
    spent = _evaluations(history)
    later = [took for step, took in spent.items() if step]
    usual = statistics.median(later) if later else spent.get(0, 0.0)
    scored = number(history.last("eval"), "pairs") or 0
    return Speed(
        token=own,
        reference=reference,
        between=_between(history, {step for step, took in spent.items() if took}),
        warm_up=max(0.0, steps[0].seconds - steps[0].tokens * (own + reference)),
        first_evaluation=spent.get(0, usual),
        evaluation=usual,
        scored=int(scored) if 0 <= scored < 2**53 else 0,
        tokens_a_pair=sum(one.tokens for one in steps) / sum(one.pairs for one in steps),
    )


def plan_of(recipe: Recipe, pairs: int, held_out: int, tokens_a_pair: float) -> Plan:
    """What a recipe does with so many pairs to train on, of so many tokens in the mean, a prompt counted twice. Raises
    ArithmeticError where no float holds the figures."""
    train, scoring = recipe.train, recipe.eval
    an_epoch, steps = steps_per_epoch(train, max(1, pairs)), total_steps(train, max(1, pairs))
    later = steps // scoring.every + bool(steps % scoring.every) if scoring.every else 1
    scored = min(held_out, scoring.pairs or held_out)
    return Plan(steps, steps / an_epoch * pairs * tokens_a_pair, pairs * tokens_a_pair, later if scored else 0, scored)


def seconds(speed: Speed, plan: Plan) -> float:
    """About how long `plan` takes at that speed."""
    reference = min(plan.tokens, plan.epoch_tokens) * speed.reference
    trained = plan.tokens * speed.token + reference + plan.steps * speed.between + speed.warm_up
    if not plan.scored:
        return trained
    more = plan.scored / speed.scored if speed.scored else 1.0
    return trained + more * (speed.first_evaluation + plan.evaluations * speed.evaluation)


def parts_of(recipe: Recipe) -> list[Recipe]:
    """The recipe as it trains: with the supervised epochs before it, where it asks for those."""
    train = recipe.train
    if not train.sft_epochs or recipe.loss.name == "sft":
        return [recipe]
    own = train.model_copy(update={"epochs": train.sft_epochs, "steps": 0, "sft_epochs": 0.0})
    return [recipe.model_copy(update={"loss": LossSettings(name="sft"), "train": own}), recipe]


def likeness(recipe: Recipe, earlier: Recipe) -> int | None:
    """How many of the settings that a step's time depends on are the same; None where one run tells nothing of the
    other: another model, device or backend, or only one of them trains on both answers."""
    mine, other = recipe.backend, earlier.backend
    kept = LOSSES[recipe.loss.name].rejected == LOSSES[earlier.loss.name].rejected
    where = mine.name in ("auto", other.name) and mine.device in ("auto", other.device)
    model, before = recipe.model, earlier.model
    if not (kept and where) or (model.name, model.quantize) != (before.name, before.quantize):
        return None
    if model.dtype not in ("auto", before.dtype):
        return None
    return sum(_value(recipe, key) == _value(earlier, key) for key in SLOWER)


def _value(recipe: Recipe, key: str) -> Any:
    section, _, name = key.partition(".")
    table = getattr(recipe, section)
    return getattr(table, name) if name else table


@dataclass(frozen=True)
class _Step:
    tokens: float
    pairs: float
    seconds: float
    reference: float
    first: bool  # in the first epoch


def _step(event: dict[str, Any]) -> _Step | None:
    keys: Sequence[str] = ("perf/seconds", "perf/tokens_per_second", "perf/pairs_per_second")
    took, tokens, pairs = (number(event, key) or 0.0 for key in keys)
    if not all(0 < one < 1e12 for one in (took, tokens, pairs)):
        return None
    reference = number(event, "perf/reference_seconds") or 0.0
    epoch = number(event, "epoch")
    return _Step(
        tokens * took, pairs * took, took, min(max(reference, 0.0), took), epoch is not None and 0 <= epoch <= 1
    )


def _evaluations(history: History) -> dict[int, float]:
    """By step, the seconds from its end to the end of what was evaluated after it."""
    begins = {event["step"]: number(event, "time") for event in [*history.of("started"), *history.of("step")]}
    ends: dict[int, float] = {}
    for kind in AFTER_STEP:
        for event in history.of(kind):
            when = number(event, "time")
            if when is not None and event["step"] in begins:
                ends[event["step"]] = max(ends.get(event["step"], when), when)
    found = {step: end - began for step, end in ends.items() if (began := begins[step]) is not None}
    return {step: took for step, took in found.items() if 0 <= took < 1e9}


def _between(history: History, evaluated: Set[int]) -> float:
    """Seconds from a step's end to the begin of the next one where nothing was evaluated between, in the median."""
    gaps: list[float] = []
    for before, after in itertools.pairwise(history.of("step")):
        ended, next_ended, took = number(before, "time"), number(after, "time"), number(after, "perf/seconds")
        if ended is None or next_ended is None or took is None:
            continue
        if before["step"] not in evaluated and after["step"] == before["step"] + 1:
            gaps.append(next_ended - ended - took)
    gap = statistics.median(gaps) if gaps else 0.0
    return gap if 0 < gap < 1e9 else 0.0
