"""Pairs as lines of JSON, which `train` reads."""

import json
from collections.abc import Mapping
from typing import Any

from mio_local.learning import MakeSettings
from mio_local.making.make import Making


def pair_lines(making: Making, settings: MakeSettings, judge: str, origin: Mapping[str, Any]) -> str:
    """A line for each pair: prompt, chosen and rejected, all answers with their rewards, tokens and temperatures, who
    judged, and of `origin` what tells the model and the seed."""
    temperatures = [settings.temperature[number % len(settings.temperature)] for number in range(settings.answers)]
    lines: list[str] = []
    for made in making.made:
        asked = made.answered.asked
        tools = {"tools": asked.tools} if asked.tools else {}
        for pair in made.pairs:
            record = {
                "prompt": asked.prompt, "chosen": pair.chosen, "rejected": pair.rejected, **tools,
                "answers": made.answered.answers, "rewards": made.rewards, "tokens": list(map(len, made.ids)),
                "judge": judge, "temperatures": temperatures, **origin,
            }  # fmt: skip
            lines.append(json.dumps(record, ensure_ascii=False))
    return "".join(f"{line}\n" for line in lines)
