"""Greedy answers to held-out prompts, rewarded by the judge: whether what is trained for is learnt."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from mio_local.making.answered import Asked, Judge
from mio_local.making.drawing import draw_now
from mio_local.objectives.intervals import standard_error
from mio_local.sampling import Draws
from mio_local.training.job import Job

REWARD = "reward/held_out"  # mean reward


def held_out_reward(job: Job, judge: Judge, asked: Sequence[Asked]) -> dict[str, Any]:
    """The values of a `reward` event, see `runs.events`; none where the judge rewards no single answer."""
    settings = job.recipe.make
    draws = Draws(1, (0.0,), 1.0, settings.answer_tokens, 0, settings.rows)
    drawn, answered = draw_now(job.model, job.chat, asked, draws)
    rewards = np.array([one for each in judge.judge(answered) for one in each if one is not None], np.float64)
    if not len(rewards):
        return {}
    lengths = [len(ids[0]) for ids in drawn]
    found = {
        REWARD: float(rewards.mean()), f"{REWARD}_stderr": standard_error(rewards),
        "prompts": len(rewards), "answer_tokens": float(np.mean(lengths)),
    }  # fmt: skip
    if judge.threshold is not None:
        found["right"] = int(np.sum(rewards >= judge.threshold))
    return found
