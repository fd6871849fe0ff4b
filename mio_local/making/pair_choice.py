"""Which pairs the answers to a prompt make: candidates, the best first, and the filters that they pass."""

import itertools
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from mio_local.data.messages import Answer, shown_text
from mio_local.learning import MakeSettings
from mio_local.making.answered import Answered, Rewards

Length = Callable[[Answer], int]  # tokens of an answer
Logps = Sequence[float]  # of a prompt's answers, nats


@dataclass(frozen=True)
class Candidate:
    """A pair that a prompt could make. `gap` is the difference of the rewards, `logp` the rejected answer's log-prob,
    nats; None where they are not known."""

    chosen: Answer
    rejected: Answer
    gap: float | None = None
    logp: float | None = None


@dataclass
class Filters:
    """What was left out, and why: `answers` by themselves, `pairs` by the filters, `prompts` that made none."""

    answers: Counter[str] = field(default_factory=Counter[str])
    pairs: Counter[str] = field(default_factory=Counter[str])
    prompts: Counter[str] = field(default_factory=Counter[str])


def choose(
    answered: Answered, rewards: Rewards, settings: MakeSettings, length: Length, left: Filters,
    logps: Logps | None = None, given: Sequence[tuple[Answer, Answer]] | None = None,
) -> list[Candidate]:  # fmt: skip
    """The pairs of a prompt: one, or all, as the settings say. `given` are those that a judge makes itself; else they
    are made of the rewards. With the setting `hardest` the rejected answer is the likeliest of those that pass, by
    `logps` (MC-PO, arXiv 2502.04567), for the best chosen one."""
    usable = usable_of(answered, rewards, left, needed=given is None)
    if given is None:
        found = _by_reward(answered, rewards, usable)
    else:
        found = [Candidate(*pair) for pair in given if _sound(answered, usable, pair)]
    found = [_scored(pair, answered, logps) for pair in found]
    if not found:
        left.prompts[_why(rewards, usable, given)] += 1
        return []
    passing: list[Candidate] = []
    for pair in found:
        if pair.gap is not None and pair.gap < settings.margin:
            left.pairs[f"margin under {settings.margin:g}"] += 1
        elif settings.length_ratio and _ratio(pair, length) > settings.length_ratio:
            left.pairs[f"one answer over {settings.length_ratio:g} times as long"] += 1
        else:
            passing.append(pair)
    if not passing:
        left.prompts["no pair passes the filters"] += 1
        return []
    if settings.pairs == "all":
        return passing
    if settings.negatives == "hardest":
        best = [pair for pair in passing if pair.chosen == passing[0].chosen]
        return [max(best, key=lambda pair: float("-inf") if pair.logp is None else pair.logp)]
    return passing[:1]


def usable_of(answered: Answered, rewards: Rewards, left: Filters, *, needed: bool) -> list[int]:
    """The answers that may stand in a pair, each text once."""
    found: dict[str, int] = {}
    for number, (text, cut, reward) in enumerate(zip(answered.answers, answered.cut, rewards, strict=True)):
        if cut:  # its end was not drawn, and would be scored
            left.answers["cut at the token limit"] += 1
        elif not text.strip():
            left.answers["empty"] += 1
        elif text.strip() in found:
            left.answers["repeated"] += 1
        elif needed and reward is None:
            left.answers["without a reward"] += 1
        else:
            found[text.strip()] = number
    return list(found.values())


def _by_reward(answered: Answered, rewards: Rewards, usable: Sequence[int]) -> list[Candidate]:
    """Every better answer with every worse one: the best with the worst first."""
    known = {number: reward for number in usable if (reward := rewards[number]) is not None}
    down = sorted(known, key=lambda number: (-known[number], number))
    up = sorted(known, key=lambda number: (known[number], number))
    return [
        Candidate(answered.answers[better], answered.answers[worse], known[better] - known[worse])
        for better, worse in itertools.product(down, up) if known[better] > known[worse]
    ]  # fmt: skip


def _sound(answered: Answered, usable: Sequence[int], pair: tuple[Answer, Answer]) -> bool:
    """Whether a judge's pair has two answers that differ, and none of the prompt's own that may not stand in one."""
    unusable = set(answered.answers) - {answered.answers[number] for number in usable}
    texts = [shown_text(answer).strip() for answer in pair]
    return all(texts) and texts[0] != texts[1] and not any(
        isinstance(answer, str) and answer in unusable for answer in pair
    )  # fmt: skip


def _scored(pair: Candidate, answered: Answered, logps: Logps | None) -> Candidate:
    if logps is None or pair.rejected not in answered.answers:
        return pair
    return Candidate(pair.chosen, pair.rejected, pair.gap, logps[answered.answers.index(str(pair.rejected))])


def _ratio(pair: Candidate, length: Length) -> float:
    one, other = sorted((length(pair.chosen), length(pair.rejected)))
    return other / max(one, 1)


def _why(rewards: Rewards, usable: Sequence[int], given: object) -> str:
    if given is not None:
        return "of which the judge makes none"
    if all(reward is None for reward in rewards):
        return "with no reward"
    if len({reward for reward in rewards if reward is not None}) == 1:
        return "with all rewards equal"
    return "with too few answers that differ, end and have a reward" if len(usable) < 2 else "with equal usable rewards"
