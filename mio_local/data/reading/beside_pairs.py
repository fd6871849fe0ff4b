"""A row's own pair made a group with what stands beside it: the answers that were drawn, and rewards."""

from collections.abc import Sequence
from typing import Any

from mio_local.data.messages import BadRow, NoPreference, is_null
from mio_local.data.reading.answer_groups import (
    REMEDY,
    Rewarded,
    best_with_worse,
    grouped,
    key_of,
    reward_of,
    sampled,
    usable_of,
)
from mio_local.data.reading.cells import PAIR, Cells, Made
from mio_local.data.reading.ranked_answers import answers_of
from mio_local.data.reading.wanted import Wanted

NO_PAIR = "no pair was made of its answers"


def make_beside(cells: Cells, columns: Cells, where: str, rejected: Sequence[Any], wanted: Wanted) -> Made:
    """The chosen answer with the `rejected` ones, and of the drawn ones with those of a lower reward, the lowest first;
    where every answer needs a reward, the better of two is the chosen one. Samples are the drawn ones, or the row's
    own."""
    if wanted.rewarded and "chosen" not in columns:  # it ends a conversation
        raise BadRow(where, "its answers have no reward", REMEDY)
    drawn = _drawn(cells, columns, where)
    name = columns.get("candidates", "chosen")
    if all(is_null(cells.get(role)) for role in PAIR) and drawn:
        if wanted.needs == "samples":
            return sampled(cells, drawn, name, where)
        if wanted.needs == "rewards":
            return best_with_worse(cells, drawn, name, where, wanted)
        raise NoPreference(where, NO_PAIR)
    drawn = [(reward, _shaped(answer, cells.get("chosen", ""))) for reward, answer in drawn]
    if wanted.needs == "samples" and drawn:
        return sampled(cells, drawn, name, where)
    usable, left = usable_of(drawn)
    chosen, own = _own(cells, columns, where, rejected, usable)
    if wanted.needs == "samples":
        _check_rewards((chosen, *own), columns, where)
        return sampled(cells, [chosen, *own], "chosen_reward", where)
    if wanted.needs == "rewards":
        if len(usable) > 1 and any(reward is None for reward, _ in (chosen, *own)):
            return best_with_worse(cells, drawn, name, where, wanted)
        chosen, *own = sorted(_check_rewards((chosen, *own), columns, where), key=_negated)
        own.reverse()
    others = _without(usable, (chosen, *own))
    worse = sorted((each for each in others if _is_worse(each, chosen, own)), key=lambda each: each[0] or 0.0)
    made = grouped(cells, chosen, [*own, *worse], where, wanted)
    return Made(made.cells, left=made.left + left)


def make_from_several(cells: Cells, columns: Cells, where: str, ranking: str, wanted: Wanted) -> Made:
    """One chosen answer with each of the rejected ones, or with several of them."""
    rejected = cells["rejected"]
    if not isinstance(rejected, list) or not rejected:
        raise BadRow(where, "rejected is empty" if rejected == [] else "rejected must be a list of answers")
    if wanted.groups:
        return make_beside(cells, columns, where, rejected, wanted)
    return Made([{**cells, "rejected": answer} for answer in rejected])


def _drawn(cells: Cells, columns: Cells, where: str) -> list[Rewarded]:
    """The answers in a column of their own with their rewards, none where the row has none."""
    found = cells.get("candidates")
    if "candidates" not in columns or is_null(found) or found in ([], ""):
        return []
    return answers_of(cells, columns, where, strict=True)


def _shaped(answer: Any, like: Any) -> Any:
    """A drawn answer as the row's own is: a text, one message, or a list of messages."""
    if not isinstance(answer, str) or isinstance(like, str):
        return answer
    message = {"role": "assistant", "content": answer}
    return [message] if isinstance(like, list) else message


def _own(
    cells: Cells, columns: Cells, where: str, rejected: Sequence[Any], usable: Sequence[Rewarded]
) -> tuple[Rewarded, list[Rewarded]]:
    """The row's own chosen and rejected answers after their rewards: in columns of theirs, or as drawn."""
    known = {key_of(answer): reward for reward, answer in reversed(usable)}
    own = cells.get("chosen")  # none where it ends a conversation
    chosen = known.get(key_of(own))
    rewards = [known.get(key_of(answer)) for answer in rejected]
    if "chosen_reward" in columns:
        chosen = reward_of(cells["chosen_reward"], columns["chosen_reward"], where, text=True)
    if "rejected_reward" in columns:
        name, found = columns["rejected_reward"], cells["rejected_reward"]
        each = found if isinstance(found, list) else [found]
        if len(each) != len(rejected):
            raise BadRow(where, f"{name} must have a number for each rejected answer", f" ({len(each)})")
        rewards = [reward_of(value, name, where, text=True) for value in each]
    return (chosen, own), list(zip(rewards, rejected, strict=True))


def _without(drawn: Sequence[Rewarded], own: Sequence[Rewarded]) -> list[Rewarded]:
    """The drawn answers without the row's own, each of which is left out once: another such is a repetition."""
    known = {key_of(answer) for _, answer in own}
    others: list[Rewarded] = []
    for each in drawn:
        if (key := key_of(each[1])) in known:
            known.remove(key)
        else:
            others.append(each)
    return others


def _check_rewards(answers: Sequence[Rewarded], columns: Cells, where: str) -> list[Rewarded]:
    """The answers, each of which has a reward. Raises BadRow where there is no place for it, NoPreference for null."""
    if all(reward is not None for reward, _ in answers):
        return list(answers)
    if {"chosen_reward", "rejected_reward"} <= columns.keys() or "candidates" in columns:
        raise NoPreference(where, "an answer has no reward")
    raise BadRow(where, "its answers have no reward", REMEDY)


def _is_worse(drawn: Rewarded, chosen: Rewarded, own: Sequence[Rewarded]) -> bool:
    """Whether an answer is of a lower reward than the chosen one, or, where that was not judged (a known answer, say),
    of no higher one than a rejected one."""
    reward = drawn[0] or 0.0
    if chosen[0] is not None:
        return reward < chosen[0]
    return any(other is not None and reward <= other for other, _ in own)


def _negated(given: Rewarded) -> float:
    return -(given[0] or 0.0)
