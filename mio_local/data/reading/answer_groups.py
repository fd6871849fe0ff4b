"""Several answers to one prompt, made a group: the chosen one with those that are worse, or all that were drawn."""

import json
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from mio_local.data.messages import BadRow, NoPreference, is_null
from mio_local.data.reading.cells import OTHERS, REWARDS, Cells, Made
from mio_local.data.reading.wanted import Wanted
from mio_local.text import kind_name, visible_line

Rewarded = tuple[float | None, Any]  # an answer after its reward, the higher the better; None where it has none
NO_REWARD, NO_TEXT, REPEATED = "without a reward", "without text", "repeated in their group"
REMEDY = ("; give each answer one: columns chosen_reward and rejected_reward, or answers with rewards (named by "
          "--columns), or let --rounds draw and reward them, or choose a --loss that reads pairs alone")


def grouped(cells: Cells, chosen: Rewarded, worse: Sequence[Rewarded], where: str, wanted: Wanted) -> Made:
    """The chosen answer with the first of the `worse` ones, each text once. Raises NoPreference for none, BadRow where
    a reward that is wanted is missing."""
    left: Counter[str] = Counter()
    seen: set[str] = {key_of(chosen[1])}
    rejected: list[Rewarded] = []
    for each in worse:
        if (key := key_of(each[1])) in seen:
            left[REPEATED] += 1
        elif len(rejected) < wanted.negatives:
            seen.add(key)
            rejected.append(each)
    if not rejected:
        raise NoPreference(where, "its answers are one text: none is better")
    rewards = [reward for reward, _ in (chosen, *rejected) if reward is not None]
    made = {**cells, "chosen": chosen[1], "rejected": rejected[0][1], OTHERS: [answer for _, answer in rejected[1:]]}
    if wanted.rewarded:
        if len(rewards) < 1 + len(rejected):
            raise BadRow(where, "its answers have no reward", REMEDY)
        made[REWARDS] = tuple(rewards)
    return Made([made], left=left)


def best_with_worse(cells: Cells, given: Sequence[Rewarded], name: str, where: str, wanted: Wanted) -> Made:
    """The answer of the highest reward with those of the lowest, the first in the row where several have it."""
    usable, left = usable_of(given)
    if len(usable) < 2:
        raise too_few(given, name, where)
    best = max(usable, key=_reward)
    worse = sorted((each for each in usable if _reward(each) < _reward(best)), key=_reward)
    if not worse:
        raise NoPreference(where, f"{name} has equal scores: no answer is better")
    made = grouped(cells, best, worse, where, wanted)
    return Made(made.cells, left=made.left + left)


def sampled(cells: Cells, given: Sequence[Rewarded], name: str, where: str) -> Made:
    """All the answers in the row's order, equal ones too: what is learnt from is their rewards."""
    usable, left = usable_of(given)
    if len(usable) < 2:
        raise too_few(given, name, where)
    answers = [answer for _, answer in usable]
    rewards = tuple(map(_reward, usable))
    return Made([{**cells, "chosen": answers[0], "rejected": answers[1], OTHERS: answers[2:], REWARDS: rewards}],
                left=left)


def usable_of(given: Sequence[Rewarded]) -> tuple[list[Rewarded], Counter[str]]:
    """The answers that have a text and a reward, and how many have not."""
    left: Counter[str] = Counter()
    usable: list[Rewarded] = []
    for reward, answer in given:
        if is_null(answer) or (isinstance(answer, str) and not answer.strip()):
            left[NO_TEXT] += 1
        elif reward is None:
            left[NO_REWARD] += 1
        else:
            usable.append((reward, answer))
    return usable, left


def too_few(given: Sequence[Rewarded], name: str, where: str) -> BadRow:
    """What to raise where not two answers are left: a fault of the row, unless it has two that nobody judged."""
    words = f"{name} has fewer than two answers with a reward"
    return NoPreference(where, words) if len(given) > 1 else BadRow(where, words)


def reward_of(value: Any, name: str, where: str, *, text: bool = False) -> float | None:
    """A reward, None for null. Raises BadRow for NaN, infinity and what is no number; `text` takes a number that is
    written as a text, as CSV has them."""
    if value is None or (text and value == ""):
        return None
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    try:
        number = float(value) if is_number or (text and isinstance(value, str)) else math.nan
    except (ValueError, OverflowError):
        number = math.nan
    if not math.isfinite(number):
        shown = visible_line(str(value), 40) if isinstance(value, str | float) else kind_name(value)
        raise BadRow(where, f"{name} must be a number for each answer, or null", f", not {shown}")
    return number


def key_of(answer: Any) -> str:
    """A text that is the same for the same answer: the last turn's, of messages."""
    if isinstance(answer, list) and answer:
        return key_of(answer[-1])
    if isinstance(answer, Mapping):
        bare = {"role", "content"} >= answer.keys() or {"from", "value"} >= answer.keys()
        said = answer.get("content", answer.get("value"))
        return said if bare and isinstance(said, str) else json.dumps(answer, sort_keys=True, default=str)
    return answer if isinstance(answer, str) else json.dumps(answer, default=str)


def _reward(given: Rewarded) -> float:
    assert given[0] is not None
    return given[0]
