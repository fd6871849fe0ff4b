"""Judges by a rule: an answer is right, 1, or wrong, 0."""

from collections.abc import Sequence

from mio_local.data.messages import shown_text
from mio_local.data.task_questions import Rule, rule
from mio_local.making.answered import Answered, Rewards
from mio_local.making.judging.plain_judge import PlainJudge

WHOLE = ("boxed", "regex")  # rules for an answer's form: the data's own may be there without it


class Checker(PlainJudge):
    """1 where the part of an answer that counts is the known answer's, else 0; none without a known answer.

    `name` is a rule of `mio_local.data.task_questions`. Raises DataError for another.
    """

    def __init__(self, name: str) -> None:
        super().__init__(name, 1.0)
        self.part: Rule = rule(name, "--judge")

    def judge(self, answered: Sequence[Answered]) -> list[Rewards]:
        return [self._rewards(one) for one in answered]

    def _rewards(self, one: Answered) -> Rewards:
        right = self._right(one)
        if right is None:
            return (None,) * len(one.answers)
        return tuple(float(self.part(answer) == right) for answer in one.answers)

    def _right(self, one: Answered) -> str | None:
        if one.asked.known is None:
            self.skip("no known answer", count=len(one.answers))
            return None
        known = shown_text(one.asked.known)
        part = self.part(known)
        if part is None and self.name.partition(":")[0] in WHOLE:
            part = known.strip()
        if part is None:
            self.skip(f"nothing in the known answer that {self.name} takes", one.asked.where, len(one.answers))
        return part


class ByHand(PlainJudge):
    """None for all: the pairs are made in the app."""

    def __init__(self) -> None:
        super().__init__("hand", None)

    def judge(self, answered: Sequence[Answered]) -> list[Rewards]:
        return [(None,) * len(one.answers) for one in answered]
