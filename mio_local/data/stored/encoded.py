"""What became of pairs that were tokenised: examples, those left out and why, and what reached no token."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from mio_local.data.examples import Examples
from mio_local.data.templating.cutting import LongPrompt
from mio_local.errors import DataError


class Left(NamedTuple):
    """A pair that was left out: its number, why in words that others share, what is wrong with it, and whether that is
    a prompt that is too long."""

    number: int
    reason: str
    problem: str
    is_long: bool


@dataclass(frozen=True)
class Encoded:
    """`lost`: by kind of text that reached no token, how many pairs have such, and where the first of them stands."""

    examples: Examples
    left: Sequence[Left] = ()
    lost: dict[str, tuple[int, str]] = field(default_factory=dict)

    @property
    def skipped(self) -> dict[str, int]:
        """Pairs left out by reason."""
        return dict(Counter(each.reason for each in self.left))

    @property
    def problem(self) -> str:
        """What is wrong with the first pair that was left out."""
        return self.left[0].problem if self.left else ""

    def of(self, numbers: Sequence[int]) -> "Encoded":
        """What became of the pairs with these numbers; `lost` stays that of all."""
        chosen = set(numbers) if self.left else set[int]()
        return Encoded(self.examples.of(numbers), [each for each in self.left if each.number in chosen], self.lost)

    def check(self, long_prompt: str, bad_rows: str) -> None:
        """Raise LongPrompt or DataError for the first that such settings do not leave out."""
        check(self.left, long_prompt, bad_rows)


def check(left: Sequence[Left], long_prompt: str, bad_rows: str) -> None:
    """As `Encoded.check`, for those that were left out."""
    for each in left:
        if (long_prompt if each.is_long else bad_rows) != "skip":
            raise (LongPrompt if each.is_long else DataError)(each.problem)
