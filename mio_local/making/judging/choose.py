"""The judge that the settings name."""

from collections import Counter
from collections.abc import Sequence

from mio_local.data.messages import Answer, shown_text
from mio_local.data.task_questions import Rule, rule
from mio_local.errors import DataError
from mio_local.learning import MakeSettings
from mio_local.making.answered import Answered, Judge, Rewards


class Checker:
    """1 for an answer whose part that counts is the known answer's, else 0; with `gold` the known answer is chosen."""

    threshold: float | None = 1.0

    def __init__(self, name: str, part: Rule, kind: str) -> None:
        self.name, self.part, self.kind = name, part, kind
        self.unjudged: dict[str, int] = Counter()

    def judge(self, answered: Sequence[Answered]) -> list[Rewards]:
        return [self._rewards(one) for one in answered]

    def _rewards(self, one: Answered) -> Rewards:
        if one.asked.known is None:
            self.unjudged["no known answer"] = self.unjudged.get("no known answer", 0) + len(one.answers)
            return (None,) * len(one.answers)
        right = self.part(shown_text(one.asked.known))
        return tuple(float(self.part(answer) == right) for answer in one.answers)

    def pairs(self, answered: Sequence[Answered], rewards: Sequence[Rewards]) -> list[list[tuple[Answer, Answer]]]:
        return [
            [] if one.asked.known is None else
            [(one.asked.known, text) for text, reward in zip(one.answers, each, strict=True) if reward == 0]
            for one, each in zip(answered, rewards, strict=True)
        ]  # fmt: skip

    def close(self) -> None:
        pass


def judge_of(settings: MakeSettings, trust: bool = False) -> Judge:
    """The judge. Raises DataError."""
    gold = settings.judge == "gold"
    try:
        return Checker(settings.judge, rule("last-number" if gold else settings.judge), "pairs" if gold else "answers")
    except DataError as error:
        raise DataError(str(error).replace("--rule", "--judge")) from None
