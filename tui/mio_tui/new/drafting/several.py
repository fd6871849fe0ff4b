"""Several values of a setting: a run for each, of two settings for each two."""

from collections.abc import Mapping
from typing import Any

from mio_tui.formatting import short_rate
from mio_tui.new.drafting.judging import KEYS, parsed

BETWEEN = ", "  # a comma alone is the decimal point of half the world
SECTIONS = ("lora.", "loss.", "train.")  # of others the estimates would have to be made anew
NOT_SWEPT = ("train.sft_epochs", "train.sft_learning_rate", "train.save_every", "train.keep")
NUMBERS = [key for key, field in KEYS.items() if field.annotation in (int, float)]
SWEPT = [key for key in NUMBERS if key.startswith(SECTIONS) and key not in NOT_SWEPT]
MOST_RUNS, MOST_KEYS = 8, 2
IN_NAMES = {"train.learning_rate": "lr", "train.batch_size": "batch"}


def parts(key: str, value: Any) -> list[str]:
    """The values that a setting was given, as they were typed; none where that is one."""
    found = value.split(BETWEEN) if isinstance(value, str) and key in SWEPT else []
    return [part.strip() for part in found] if len(found) > 1 else []


def error(key: str, values: Mapping[str, Any]) -> str:
    """What is wrong with the several values of a key among those of a draft; empty where nothing is."""
    typed = parts(key, values[key])
    judged = [parsed(key, part, values) for part in typed]
    if wrong := next((message for _, message in judged if message), ""):
        return wrong
    if len({ending({key: found[0]}) for found, _ in judged if found}) < len(typed):
        return "has one value twice, or two that no name could tell apart"
    swept = {name: many for name in values if (many := parts(name, values[name]))}
    if len(swept) > MOST_KEYS:
        return f"with {' and '.join(other for other in swept if other != key)}: two settings may have several values"
    runs = 1
    for many in swept.values():
        runs *= len(many)
    return f"makes {runs:,} runs; {MOST_RUNS} are the most" if runs > MOST_RUNS else ""


def ending(changed: Mapping[str, Any]) -> str:
    """What tells a run by its values, for its name: beta0.1-lr1e-5."""
    words: list[str] = []
    for key, value in changed.items():
        shown = short_rate(value) if key == "train.learning_rate" else f"{value:g}"
        words.append(IN_NAMES.get(key, key.partition(".")[2].replace("_", "-")) + shown.replace("+", ""))
    return "-".join(words)
