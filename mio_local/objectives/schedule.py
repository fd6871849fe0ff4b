"""How long a training is, and the learning rate as a pure function of the step."""

import math
from typing import Protocol


class RateTerms(Protocol):
    """What the rate goes by: the peak, a share of the steps below 1 or a number of them, and the decay's name."""

    @property
    def learning_rate(self) -> float: ...
    @property
    def warmup(self) -> float: ...
    @property
    def schedule(self) -> str: ...


class LengthTerms(Protocol):
    """How long a training is: so many steps, or where that is 0 so many epochs; and how many pairs a step takes."""

    @property
    def steps(self) -> int: ...
    @property
    def epochs(self) -> float: ...
    @property
    def batch_size(self) -> int: ...
    @property
    def accumulate(self) -> int: ...


def steps_per_epoch(settings: LengthTerms, pairs: int) -> int:
    """Steps in which each of so many pairs is seen once."""
    return math.ceil(pairs / (settings.batch_size * settings.accumulate))


def total_steps(settings: LengthTerms, pairs: int) -> int:
    """Steps of a training on so many pairs."""
    return settings.steps or math.ceil(settings.epochs * steps_per_epoch(settings, pairs))


def warmup_steps(settings: RateTerms, total: int) -> int:
    """Steps of linear warm-up: `warmup` itself from 1 on, else that share of `total`, rounded up."""
    return round(settings.warmup) if settings.warmup >= 1 else math.ceil(settings.warmup * total)


def learning_rate(settings: RateTerms, step: int, total: int) -> float:
    """The rate used by step `step` (from 0) of `total`: a linear rise, then constant, linear or cosine decay to 0."""
    warmup = min(warmup_steps(settings, total), total)
    peak = settings.learning_rate
    if step < warmup:
        return peak * (step + 1) / warmup
    progress = (step - warmup) / max(1, total - warmup)
    if settings.schedule == "linear":
        return peak * (1 - progress)
    if settings.schedule == "cosine":
        return peak * 0.5 * (1 + math.cos(math.pi * progress))
    return peak
