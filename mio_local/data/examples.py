"""Tokenised pairs as flat arrays, how long they are, and what tokenising did to them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from mio_local.data.stored.on_demand import OnDemand

Spans = tuple[tuple[int, int], ...]  # (start, stop) places of tokens, in order
Scored = tuple[Spans, ...]  # within the prompt, where they count for every answer, the chosen, the rejected, the others


@dataclass(frozen=True)
class Example:
    """A prompt and its answers as token ids: a pair, or a group with more rejected answers than one.

    All the answers' tokens are scored, and none of the prompt's, unless `scored` says which are. An answer without
    tokens is none: a group may lack its chosen or its rejected one. `rewards` has one for each of `answers`, or is
    empty.
    """

    prompt: list[int]
    chosen: list[int]
    rejected: list[int]
    truncated_chosen: bool
    truncated_rejected: bool
    cut_prompt: bool
    where: str
    scored: Scored | None = None
    others: tuple[list[int], ...] = ()  # rejected answers after the first
    rewards: tuple[float, ...] = ()

    @property
    def answers(self) -> tuple[list[int], ...]:
        """The chosen, the rejected and the others."""
        return (self.chosen, self.rejected, *self.others)

    @property
    def scored_tokens(self) -> tuple[int, ...]:
        """How many tokens of each of the answers are scored."""
        if self.scored is None:
            return tuple(map(len, self.answers))
        prompt, *answers = (sum(stop - start for start, stop in spans) for spans in self.scored)
        return tuple(prompt + answer for answer in answers)


CUT_CHOSEN, CUT_REJECTED, CUT_PROMPT, END_INSIDE = 1, 2, 4, 8  # flags: the last, of an end token inside an answer


class Arrays(NamedTuple):
    """Of examples, what `Examples` has."""

    tokens: np.ndarray
    lengths: np.ndarray
    flags: np.ndarray
    numbers: np.ndarray
    scored: Mapping[int, Scored]


class Examples(OnDemand[Example]):
    """Examples in flat arrays, which may be mapped from a file.

    tokens (T,) int32: prompt, chosen and rejected answer of the pairs, one after the other. starts (n,) int64: where
    each example's begin. lengths (n, 3) int32: of the three. flags (n,) uint8: CUT_CHOSEN and so on. numbers (n,)
    int32: the pairs that they are of, whose places `places` tells. scored: by number, where not just the tokens of the
    answers are scored.
    """

    def __init__(
        self, tokens: np.ndarray, starts: np.ndarray, lengths: np.ndarray, flags: np.ndarray, numbers: np.ndarray,
        places: Callable[[int], str], scored: Mapping[int, Scored], key: str = "",
    ) -> None:  # fmt: skip
        self.key = key  # what those of all pairs are kept by, where they are
        self.tokens, self.starts, self.lengths, self.flags, self.numbers = tokens, starts, lengths, flags, numbers
        self.places, self.scored = places, scored

    def __len__(self) -> int:
        return len(self.lengths)

    def item(self, place: int) -> Example:
        prompt, chosen, rejected = self.lengths[place].tolist()
        start = int(self.starts[place])
        ids = self.tokens[start : start + prompt + chosen + rejected].tolist()
        flags, number = int(self.flags[place]), int(self.numbers[place])
        return Example(
            ids[:prompt], ids[prompt : prompt + chosen], ids[prompt + chosen :],
            bool(flags & CUT_CHOSEN), bool(flags & CUT_REJECTED), bool(flags & CUT_PROMPT), self.places(number),
            self.scored.get(number),
        )  # fmt: skip

    def of(self, numbers: Sequence[int]) -> "Examples":
        """Those of the pairs with these numbers, in their order."""
        chosen = np.isin(self.numbers, np.asarray(numbers, np.int32))
        return Examples(
            self.tokens, self.starts[chosen], self.lengths[chosen], self.flags[chosen], self.numbers[chosen],
            self.places, self.scored, self.key,
        )  # fmt: skip

    @property
    def arrays(self) -> Arrays:
        """What they consist of."""
        return Arrays(self.tokens, self.lengths, self.flags, self.numbers, self.scored)

    def count(self, flags: int) -> int:
        """How many have one of these flags."""
        return int(np.count_nonzero(self.flags & flags))


@dataclass(frozen=True)
class Tokenised:
    """Pairs to train on, those with a cut answer, and rows skipped on the way, of the held-out file too."""

    pairs: int
    truncated: int
    skipped: int
    lost: dict[str, tuple[int, str]] = field(default_factory=dict)  # as in `Encoded`
    unused: list[str] = field(default_factory=list)  # columns that play no part


def row_tokens(example: Example) -> int:
    """Tokens of the prompt with the longer answer."""
    return len(example.prompt) + max(len(example.chosen), len(example.rejected))


def pair_tokens(example: Example) -> int:
    """Tokens of the prompt with both answers."""
    return len(example.prompt) + len(example.chosen) + len(example.rejected)


def lengths_of(examples: Sequence[Example]) -> np.ndarray:
    """Tokens of prompt, chosen and rejected of each, (n, 3) int32."""
    if isinstance(examples, Examples):
        return examples.lengths
    found = [(len(example.prompt), len(example.chosen), len(example.rejected)) for example in examples]
    return np.array(found, np.int32).reshape(-1, 3)


def by_length(examples: Sequence[Example]) -> list[int]:
    """Numbers of the examples, those of the fewest `pair_tokens` first."""
    return np.argsort(lengths_of(examples).sum(1), kind="stable").tolist()


def longest(examples: Sequence[Example]) -> tuple[int, int]:
    """The most `row_tokens` and the most `pair_tokens`; 0 of none."""
    if not len(examples):
        return 0, 0
    lengths = lengths_of(examples)
    return int((lengths[:, 0] + lengths[:, 1:].max(1)).max()), int(lengths.sum(1).max())
