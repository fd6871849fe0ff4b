"""What a person should be told of the rounds of a run: rewards that tell nothing apart, and a policy that gives way."""

import math
from collections.abc import Iterator, Sequence
from typing import Any

from mio_local.objectives.intervals import SURE
from mio_local.runs.events import Event
from mio_local.training.health import note

EQUAL = 0.9  # share of prompts whose answers all have one reward
CUT = 0.2  # share of answers that were cut at the limit
LOST = 0.5  # of the entropy that the first rounds had, what is left
WINDOW = 5  # rounds, or evaluations, whose means are compared

Told = dict[str, Any]  # the values of an event


class RoundNotes:
    """Notes on each round as it comes; of each kind one until it is well again."""

    def __init__(self, before: Sequence[Told], evals: Sequence[Told]) -> None:
        self.rounds, self.evals = list(before), list(evals)
        self.standing: set[str] = set()

    def of(self, step: int, made: Told) -> Iterator[Event]:
        """What the round that was just made shows."""
        self.rounds.append(made)
        prompts = max(1, made["prompts"])
        equal, cut = made["equal"] / prompts, made["cut"]
        yield from self._once(
            "equal", equal > EQUAL, step,
            f"all rewards are equal for {equal:.0%} of the prompts, so they tell nothing; try more --answers, a higher "
            "--temperature, or prompts that are sometimes answered right",
        )  # fmt: skip
        yield from self._once(
            "limit", cut > CUT, step,
            f"{cut:.0%} of the answers are cut at the limit before they end; raise --answer-tokens",
        )  # fmt: skip
        yield from self._entropy(step)
        yield from self._apart(step)

    def held_out(self, values: Told) -> None:
        """An evaluation was made."""
        self.evals.append(values)

    def _entropy(self, step: int) -> Iterator[Event]:
        found = [one["entropy"] for one in self.rounds if _is_finite(one.get("entropy"))]
        if len(found) < 2 * WINDOW:
            return
        first, last = _mean(found[:WINDOW]), _mean(found[-WINDOW:])
        yield from self._once(
            "entropy", last < LOST * first, step,
            f"the entropy of the answers has fallen from {first:.2f} to {last:.2f} nats a token: they become one; a "
            "lower --learning-rate or a larger --beta keeps them apart",
        )  # fmt: skip

    def _apart(self, step: int) -> Iterator[Event]:
        """The training rewards rise while those of held-out prompts fall, each by more than chance."""
        held = [one for one in self.evals if _is_finite(one.get("reward/held_out"))]
        trained = [one["reward/mean"] for one in self.rounds if _is_finite(one.get("reward/mean"))]
        if len(held) < 2 or len(trained) < 2 * WINDOW:
            return
        first, last = held[0], held[-1]
        chance = SURE * math.hypot(first.get("reward/held_out_stderr") or 0, last.get("reward/held_out_stderr") or 0)
        fell = last["reward/held_out"] < first["reward/held_out"] - chance
        rose = _mean(trained[-WINDOW:]) > _mean(trained[:WINDOW])
        yield from self._once(
            "reward", fell and rose, step,
            f"rewards rise in training ({_mean(trained[:WINDOW]):.2f} to {_mean(trained[-WINDOW:]):.2f}) and fall on "
            f"held-out prompts ({first['reward/held_out']:.2f} to {last['reward/held_out']:.2f}): the judge is being "
            "outwitted, or the prompts are too few",
        )  # fmt: skip

    def _once(self, code: str, is_so: bool, step: int, text: str) -> Iterator[Event]:
        if is_so and code not in self.standing:
            yield note(step, "warning", code, text)
        (self.standing.add if is_so else self.standing.discard)(code)


def far_note(step: int, divergence: float, limit: float) -> Event:
    """The policy is farther from the reference than the recipe allows: the end of the run."""
    text = (
        f"the policy is {divergence:.2f} nats a token from the reference, more than make.kl_stop {limit:g}; a larger "
        "--beta or a lower --learning-rate keeps it nearer"
    )
    return note(step, "warning", "far", text)


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values)


def _is_finite(value: object) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)
