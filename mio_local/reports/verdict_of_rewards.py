"""What the verdict says of the rewards of a run of rounds: a sentence, and the kinds that rest on them.

The rewards are those of greedy answers to held-out prompts, first and last, with their standard errors, which are taken
as independent though the prompts are the same: a rise may so be told later than it could be, and never too early.
"""

import math
from typing import NamedTuple

import numpy as np

from mio_local.objectives.intervals import SURE, standard_error
from mio_local.recipe import Recipe
from mio_local.reports.advice import faster, slower
from mio_local.reports.means import Mean, mean_of
from mio_local.reports.reward_figures import drawn
from mio_local.runs.history import History
from mio_local.runs.summary import Verdict

ENOUGH = 30  # held-out prompts, from which on one may say that nothing moves
WINDOW = 5  # rounds at either end whose mean is compared, at most half of them


class Rewards(NamedTuple):
    """`first` and `last` are of held-out prompts, `begun` and `now` of the answers that the first and the last rounds
    drew; None where there are none. `start` is the step that `first` is of."""

    first: Mean | None
    last: Mean | None
    start: int
    begun: Mean | None
    now: Mean | None

    @property
    def rose(self) -> bool:
        """Measurably, on held-out prompts."""
        return bool(self.first and self.last and self.last.above(self.first))

    @property
    def fell(self) -> bool:
        """Measurably, on held-out prompts."""
        return bool(self.first and self.last and self.first.above(self.last))

    @property
    def rose_in_training(self) -> bool:
        return bool(self.begun and self.now and self.now.above(self.begun))

    @property
    def sentence(self) -> str:
        """The held-out rewards before and now, and whether they rose; else those of training."""
        if self.first and self.last:
            before = "before" if not self.start else f"at step {self.start}"
            rose = "it rose" if self.rose else "it fell" if self.fell else "no measurable change"
            count = f"{_count(self.last.count)} held-out prompts" if self.last.count else "held-out prompts"
            return f"reward {_shown(self.first)} {before}, {_shown(self.last)} now on {count}: {rose}"
        if self.begun and self.now:
            words = "in the first rounds, {} in the last; no prompts are held out to tell by"
            return f"reward {_number(self.begun.value)} {words.format(_number(self.now.value))}"
        return ""


def rewards_of(history: History, until: int) -> Rewards | None:
    """The rewards of a run up to a step; None where it has none."""
    held = [(event["step"], one) for event in history.of("reward") if event["step"] <= until
            and (one := mean_of(event, "reward/held_out", "prompts"))]  # fmt: skip
    steps, means = drawn(history, "reward")
    means = means[(steps <= until) & np.isfinite(means)]
    size = min(WINDOW, len(means) // 2)
    if not held and not size:
        return None
    several = len(held) > 1
    return Rewards(
        held[0][1] if several else None, held[-1][1] if several else None, held[0][0] if several else 0,
        _mean(means[:size]), _mean(means[-size:]),
    ) if several or size else None  # fmt: skip


def with_rewards(found: Verdict, rewards: Rewards | None) -> Verdict:
    """A verdict that says what became of the rewards, too."""
    said = rewards.sentence if rewards else ""
    if not said or said in found.words:
        return found
    return Verdict(found.kind, f"{said}; {found.words}", found.advice)


def reward_fell(rewards: Rewards, recipe: Recipe) -> Verdict:
    """Of rewards that fell on held-out prompts: after they rose in training, or altogether."""
    if not rewards.rose_in_training or not (rewards.begun and rewards.now):
        return Verdict("forgetting", rewards.sentence, slower(recipe))
    words = f"{rewards.sentence}; in training {_number(rewards.begun.value)}, then {_number(rewards.now.value)}"
    return Verdict("reward overfitting", words, "try more prompts or fewer --rounds; do the newest answers earn it?")


def reward_stayed(rewards: Rewards, recipe: Recipe, late: bool) -> Verdict | None:
    """Of held-out rewards that are measurably neither more nor less: whether more prompts would tell."""
    if not rewards.first or not rewards.last:
        return None
    if not late:
        return Verdict("too early to tell", rewards.sentence)
    gain, count = rewards.last.value - rewards.first.value, rewards.last.count or 0
    ratio = SURE * math.hypot(rewards.first.spread, rewards.last.spread) / max(gain, 1e-6)
    needed = ratio * ratio  # a power would raise where this is infinite
    if count >= ENOUGH and (gain <= 0 or needed > 10 * count):
        rate = faster(recipe, 1).removeprefix("try ")
        return Verdict("nothing moves", rewards.sentence, f"try more --rounds, or {rate}")
    if gain <= 0 or needed > 100 * count:
        return Verdict("cannot tell", rewards.sentence, "hold out more prompts")
    return Verdict("cannot tell", rewards.sentence, f"to tell such a rise takes some {_count(needed)} held-out prompts")


def _shown(one: Mean) -> str:
    return _number(one.value) + ("" if one.stderr is None else f" ± {_number(one.stderr)}")


def _count(value: float) -> str:
    return f"{value:.0f}" if abs(value) < 1e6 else f"{value:.2g}"


def _number(value: float) -> str:
    """With two decimals, a huge one by its power of ten: events may hold anything."""
    return f"{value:.2f}" if abs(value) < 1e6 else f"{value:.2g}"


def _mean(values: np.ndarray) -> Mean | None:
    """Of rounds; not sure of one alone."""
    if not len(values):
        return None
    stderr = standard_error(values / len(values)) * len(values)  # what is summed stays finite
    return Mean(math.fsum(values / len(values)), stderr if math.isfinite(stderr) else None, len(values))
