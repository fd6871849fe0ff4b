"""The figures of a run of rounds by name: of what the policy draws, round by round, and of greedy answers held out."""

from typing import NamedTuple

import numpy as np

from mio_local.runs.history import Axis, History


class RewardFigure(NamedTuple):
    """`drawn` is its key in `round` events, `held_out` in `reward` events, "" where those have none."""

    title: str
    drawn: str
    held_out: str = ""
    form: str = ".2f"


FIGURES = {
    "reward": RewardFigure("reward", "reward/mean", "reward/held_out"),
    "pass@1": RewardFigure("pass@1, share of answers", "pass@1", "right"),
    "pass@k": RewardFigure("pass@k, share of prompts", "pass@k"),
    "length": RewardFigure("answer length, tokens", "answer_tokens", "answer_tokens", ".1f"),
    "kl": RewardFigure("KL, nats per answer", "kl", form="+.2f"),
    "kl_per_token": RewardFigure("KL, nats per token", "kl_per_token", form="+.3f"),
    "entropy": RewardFigure("entropy, nats per token", "entropy", form=".3f"),
}


def has_rewards(history: History) -> bool:
    """Whether a run makes its own answers: by its recipe, or by its events where that was changed."""
    return bool(history.recipe.train.rounds or history.of("round") or history.of("reward"))


def drawn(history: History, name: str, by: Axis = "step") -> tuple[np.ndarray, np.ndarray]:
    """(x, y) of a figure of `FIGURES`, a point a round; see `History.column`."""
    return history.column("round", FIGURES[name].drawn, by)


def held_out(history: History, name: str, by: Axis = "step") -> tuple[np.ndarray, np.ndarray]:
    """The same of greedy answers to held-out prompts; empty where they have no such figure."""
    key = FIGURES[name].held_out
    if not key:
        return np.empty(0), np.empty(0)
    x, y = history.column("reward", key, by)
    if name == "pass@1":
        prompts = history.column("reward", "prompts")[1]
        y = y / np.where(prompts > 0, prompts, np.nan)
    return x, y


def spread(history: History) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(x, low, high): a standard deviation of the answers' rewards about their mean, round by round."""
    x, mean = drawn(history, "reward")
    apart = history.column("round", "reward/std")[1]
    with np.errstate(over="ignore"):
        return x, mean - apart, mean + apart
