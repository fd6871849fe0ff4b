"""What a round shows: rewards, how many answers are right, how long they are, and the newest group of answers."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from mio_local.data.examples import Example
from mio_local.data.messages import shown_text
from mio_local.making.make import Made, Making
from mio_local.making.pass_at_k import pass_rate

SHOWN = 400  # characters of a text that an event holds


def summary(making: Making, examples: Sequence[Example], threshold: float | None) -> dict[str, Any]:
    """The values of a `round` event, but for its number and its seconds; see `runs.events`."""
    judged = [each for each in making.made if any(reward is not None for reward in each.rewards)]
    rewards = np.array([reward for each in judged for reward in each.rewards if reward is not None], np.float64)
    lengths = [len(ids) for each in making.made for ids in each.ids]
    cut = [cut for each in making.made for cut in each.answered.cut]
    found: dict[str, Any] = {
        "prompts": making.asked,
        "answers": len(lengths),
        "pairs": len(examples),
        "equal": sum(_is_equal(each) for each in judged),
        "unjudged": sum(making.unjudged.values()),
        "answer_tokens": float(np.mean(lengths)) if lengths else 0.0,
        "cut": float(np.mean(cut)) if cut else 0.0,
        "reward/mean": float(rewards.mean()) if len(rewards) else None,
        "reward/std": float(rewards.std()) if len(rewards) else None,
    }
    if threshold is not None and judged:
        most = min(sum(reward is not None for reward in each.rewards) for each in judged)
        given = [each.rewards for each in judged]
        found |= {"pass@1": pass_rate(given, threshold, 1), "pass@k": pass_rate(given, threshold, most), "k": most}
    if judged:
        found["group"] = _group(judged[-1])
    return found


def _is_equal(made: Made) -> bool:
    return len({reward for reward in made.rewards if reward is not None}) == 1


def _group(made: Made) -> dict[str, Any]:
    prompt = made.answered.asked.prompt
    text = prompt if isinstance(prompt, str) else shown_text(prompt[-1:])
    return {
        "prompt": text[-SHOWN:],
        "answers": [answer[:SHOWN] for answer in made.answered.answers],
        "rewards": list(made.rewards),
    }
