"""How far the policy has gone from its reference, and how much choice is left in it, by answers that it drew itself."""

from collections.abc import Sequence

import numpy as np

from mio_local.backends import Model
from mio_local.data.template import Chat
from mio_local.making.make import Made
from mio_local.making.prompts import prompt_ids

ANSWERS = 16  # that are scored, the first of as many prompts


def drift(model: Model, chat: Chat, made: Sequence[Made]) -> dict[str, float]:
    """`kl`: the mean of log pi/ref over answers, nats an answer; `kl_per_token`: over tokens; `entropy`: the mean of
    -log pi, nats a token. Estimates, of answers drawn at temperature 1 unbiased ones. None are given for no answers."""
    rows = [(prompt_ids(chat, each.answered.asked), list(each.ids[0])) for each in made[:ANSWERS] if each.ids[0]]
    if not rows:
        return {}
    policy, reference = (
        np.array([found[0] for found in model.score(rows, reference=reference)], np.float64)
        for reference in (False, True)
    )
    tokens = sum(len(answer) for _, answer in rows)
    apart = policy - reference
    drawn, moved = float(policy.sum()), float(apart.sum())
    return {"kl": moved / len(rows), "kl_per_token": moved / tokens, "entropy": -drawn / tokens}
