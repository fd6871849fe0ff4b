"""Pairs as lines of JSON, which `train` reads."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from mio_local.learning import MakeSettings
from mio_local.making.hand_review import HAND
from mio_local.making.make import Making
from mio_local.making.pair_choice import Filters, usable_of


def pair_lines(making: Making, settings: MakeSettings, judge: str, origin: Mapping[str, Any]) -> str:
    """A line for each pair: prompt, chosen and rejected, all answers with their rewards, tokens and temperatures, who
    judged, and of `origin` what tells the model and the seed. Where the judge is a person, a line for each prompt that
    has two answers to choose from: these alone, and no pair."""
    temperatures = [settings.temperature[number % len(settings.temperature)] for number in range(settings.answers)]
    lines: list[str] = []
    for made in making.made:
        asked = made.answered.asked
        tools = {"tools": asked.tools} if asked.tools else {}
        drawn: Sequence[int] = range(len(made.answered.answers))
        pairs = [(pair.chosen, pair.rejected) for pair in made.pairs]
        if judge == HAND:
            drawn = usable_of(made.answered, made.rewards, Filters(), needed=False)
            pairs = [(None, None)] * (len(drawn) > 1)
        for chosen, rejected in pairs:
            record = {
                "prompt": asked.prompt, "chosen": chosen, "rejected": rejected, **tools,
                "answers": [made.answered.answers[at] for at in drawn], "rewards": [made.rewards[at] for at in drawn],
                "tokens": [len(made.ids[at]) for at in drawn], "judge": judge,
                "temperatures": [temperatures[at] for at in drawn], **origin,
            }  # fmt: skip
            lines.append(json.dumps(record, ensure_ascii=False))
    return "".join(f"{line}\n" for line in lines)
