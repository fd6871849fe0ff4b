"""Judges that make the pairs themselves: the known answer against the model's own, and its answers to other prompts."""

import json
import random
from collections.abc import Sequence

from mio_local.data.messages import Answer, shown_text
from mio_local.errors import DataError
from mio_local.making.answered import Answered, Rewards
from mio_local.making.judging.checkers import Checker
from mio_local.making.judging.plain_judge import PlainJudge

ANY = "any"  # gold:any takes every own answer to be worse than the known one


class Gold(PlainJudge):
    """The known answer is chosen, an own one rejected: the negatives of MIO's paper (arXiv 2506.22578).

    An own answer is rejected where the rule after the colon, else last-number, finds it wrong; with `gold:any` each is
    that is not the known answer. Raises DataError for another word.
    """

    kind = "pairs"

    def __init__(self, judge: str) -> None:
        rule = judge.partition(":")[2] or "last-number"
        self.checker = None if rule == ANY else Checker(rule)
        super().__init__(judge, 1.0 if self.checker else None)
        if self.checker:
            self.unjudged = self.checker.unjudged

    def judge(self, answered: Sequence[Answered]) -> list[Rewards]:
        if self.checker:
            return self.checker.judge(answered)
        return [(None,) * len(one.answers) for one in answered]

    def pairs(self, answered: Sequence[Answered], rewards: Sequence[Rewards]) -> list[list[tuple[Answer, Answer]]]:
        return [self._pairs(one, each) for one, each in zip(answered, rewards, strict=True)]

    def _pairs(self, one: Answered, rewards: Rewards) -> list[tuple[Answer, Answer]]:
        known = one.asked.known
        if known is None:
            return []
        right = shown_text(known).strip()
        return [
            (known, text) for text, reward in zip(one.answers, rewards, strict=True)
            if text.strip() != right and (reward == 0 or not self.checker)
        ]  # fmt: skip


class Mismatch(PlainJudge):
    """Chosen is an answer to the prompt, rejected one to another prompt (MIPO, arXiv 2603.19294): no label is needed.

    The prompts are put into one ring by `seed`, and each takes the answers of the next that has another prompt and
    answers that were not cut.
    """

    kind = "pairs"

    def __init__(self, seed: int) -> None:
        super().__init__("mismatch", None)
        self.seed = seed

    def judge(self, answered: Sequence[Answered]) -> list[Rewards]:
        return [(None,) * len(one.answers) for one in answered]

    def pairs(self, answered: Sequence[Answered], rewards: Sequence[Rewards]) -> list[list[tuple[Answer, Answer]]]:
        ring = list(range(len(answered)))
        random.Random(self.seed).shuffle(ring)
        prompts = [json.dumps(one.asked.prompt, sort_keys=True) for one in answered]
        usable = [_usable(one) for one in answered]
        found: list[list[tuple[Answer, Answer]]] = [[] for _ in answered]
        for place, number in enumerate(ring):
            behind = [*ring[place + 1 :], *ring[:place]]
            other = next((each for each in behind if usable[each] and prompts[each] != prompts[number]), None)
            if other is None:
                continue
            found[number] = [
                (text, rejected) for at, text in enumerate(usable[number])
                if (rejected := usable[other][at % len(usable[other])]).strip() != text.strip()
            ]  # fmt: skip
        return found


def _usable(one: Answered) -> list[str]:
    return [text for text, cut in zip(one.answers, one.cut, strict=True) if text.strip() and not cut]


def own_pairs(judge: str, seed: int) -> Gold | Mismatch:
    """The judge called gold, gold:RULE or mismatch. Raises DataError."""
    if judge == "mismatch":
        return Mismatch(seed)
    if judge.partition(":")[0] != "gold" or judge == "gold:":
        raise DataError(f"--judge {judge}: no such judge; there are gold, gold:RULE, gold:any and mismatch")
    try:
        return Gold(judge)
    except DataError as error:
        raise DataError(f"{error}; after gold: too, or {ANY}") from None
