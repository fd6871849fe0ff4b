"""Settings far from what is usual: nothing that stops a start, but what somebody should look at twice."""

from dataclasses import dataclass
from typing import Any

from mio_tui.formatting import number
from mio_tui.new.draft import KEYS, Draft


@dataclass(frozen=True)
class Range:
    """The values between which a setting is no surprise, and what is usual."""

    name: str
    low: float
    high: float
    usual: float


# TRL's advice for LoRA is 1e-5; published adapters were trained at 1e-6 to 5e-4, and the shipped demo is at 1e-3
RATE = Range("learning rate", 1e-7, 3e-3, KEYS["train.learning_rate"].default)
BETA = Range("beta", 0.005, 5.0, KEYS["loss.beta"].default)  # 0.01 to 1 in the papers of MIO, DPO and IPO
BATCH = Range("pairs an update", 2, 512, 16)
TOKENS = Range("max tokens", 64, 65_536, KEYS["data.max_tokens"].default)


def unusual(draft: Draft) -> dict[str, str]:
    """By key, how far a value is from the usual, in words; nothing for those that are near it, or wrong."""
    found = {"train.learning_rate": _any(RATE, draft, "train.learning_rate")}
    if draft.value("loss.name") != "sft":  # which has none
        found["loss.beta"] = _any(BETA, draft, "loss.beta")
    found["train.batch_size"] = _told(BATCH, draft.value("train.batch_size") * draft.value("train.accumulate"))
    found["data.max_tokens"] = _told(TOKENS, draft.value("data.max_tokens"))
    return {key: words for key, words in found.items() if words}


def _any(usual: Range, draft: Draft, key: str) -> str:
    """Of a key's values, several maybe, the first that is far from the usual."""
    typed = draft.several(key)
    values = [float(value) for value in typed] if typed and not draft.error(key) else [draft.value(key)]
    return next(filter(None, (_told(usual, value) for value in values)), "")


def _told(usual: Range, value: Any) -> str:
    if usual.low <= value <= usual.high:
        return ""
    try:
        ratio = value / usual.usual if value > usual.usual else usual.usual / value
        times = f"{ratio:,.0f}" if ratio < 1e15 else number(ratio, ".0e")
    except (ArithmeticError, ValueError):
        times = "far more than 1e15"
    side = f"{times} times" if value > usual.usual else f"one {times}th of"
    return f"{usual.name} {number(value, '.6g')} is {side} the usual {usual.usual:g}"
