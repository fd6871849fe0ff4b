"""The events of a run of rounds that nobody trained."""

from collections.abc import Iterator
from typing import Any

from tests.helpers import fakes

EVERY = 50  # steps of a round
ANSWERS = ("6 + 7 = 13", "[bold]13[/bold]\x1b[31m", "6 + 7 = 14", "6 + 7 = 13")
REWARDS = (1.0, 0.5, None, 1.0)


def round_event(number: int, mean: float, rounds: int = 8, **more: Any) -> dict[str, Any]:
    """A round of 32 prompts, four answers each."""
    step = EVERY * (number - 1)
    return {
        "type": "round", "step": step, "time": fakes.NOW - 3600 + step / 2, "round": number, "rounds": rounds,
        "prompts": 32, "answers": 128, "pairs": 30, "equal": 2, "unjudged": 0, "reward/mean": mean, "reward/std": 0.3,
        "pass@1": mean, "pass@k": min(1.0, mean + 0.2), "k": 4, "answer_tokens": 40.0 + number, "cut": 0.0,
        "kl": 0.2 * (number - 1), "kl_per_token": 0.005 * (number - 1), "entropy": 1.0 - 0.05 * number,
        "group": {"prompt": "Ann has 6 and 7 pens.", "answers": list(ANSWERS), "rewards": list(REWARDS)}, **more,
    }  # fmt: skip


def reward_event(step: int, mean: float, stderr: float = 0.04, prompts: int = 100) -> dict[str, Any]:
    """Greedy answers to the held-out prompts."""
    return {
        "type": "reward", "step": step, "time": fakes.NOW - 3600 + step / 2, "reward/held_out": mean,
        "reward/held_out_stderr": stderr, "prompts": prompts, "answer_tokens": 38.0, "right": round(mean * prompts),
    }  # fmt: skip


def events(steps: int, **more: Any) -> Iterator[dict[str, Any]]:
    """The stream of a run of eight rounds of fifty steps that got as far as `steps`; the reward rises."""
    for event in fakes.events(steps, total=400, **more):
        if event["type"] == "step" and event["step"] % EVERY == 1:
            number = event["step"] // EVERY + 1
            yield round_event(number, 0.3 + 0.05 * number)
        yield event
        if event["type"] == "eval":
            yield reward_event(event["step"], 0.3 + event["step"] / 1000)
