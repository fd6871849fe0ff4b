"""Tokenised pairs as flat arrays, how long they are, and what tokenising did to them."""

import itertools
import math
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
        """How many tokens of each of the answers are scored, 0 of an absent one."""
        if self.scored is None:
            return tuple(map(len, self.answers))
        prompt, *answers = (sum(stop - start for start, stop in spans) for spans in self.scored)
        return tuple((prompt + said) * bool(ids) for said, ids in zip(answers, self.answers, strict=True))


PARTS = 3  # prompt, chosen, rejected: what every example has, though an answer may be absent
CUT_CHOSEN, CUT_REJECTED, CUT_PROMPT, END_INSIDE = 1, 2, 4, 8  # flags: the last, of an end token inside an answer


class Arrays(NamedTuple):
    """Of examples, what `Examples` has."""

    tokens: np.ndarray
    lengths: np.ndarray
    flags: np.ndarray
    numbers: np.ndarray
    scored: Mapping[int, Scored]
    rewards: np.ndarray | None


class Examples(OnDemand[Example]):
    """Examples in flat arrays, which may be mapped from a file.

    tokens (T,) int32: prompt, chosen, rejected and other answers of the pairs, one after the other. starts (n,) int64:
    where each example's begin. lengths (n, 1 + A) int32: of each, A being the most answers, 2 where all are pairs; 0 of
    an absent answer. flags (n,) uint8: CUT_CHOSEN and so on. numbers (n,) int32: the pairs that they are of, whose
    places `places` tells. scored: by number, where not just the tokens of the answers are scored. rewards (n, A)
    float64: of the answers, NaN of an example without; None where no example has any.
    """

    def __init__(
        self, tokens: np.ndarray, starts: np.ndarray, lengths: np.ndarray, flags: np.ndarray, numbers: np.ndarray,
        places: Callable[[int], str], scored: Mapping[int, Scored], key: str = "", rewards: np.ndarray | None = None,
    ) -> None:  # fmt: skip
        self.key = key  # what those of all pairs are kept by, where they are
        self.tokens, self.starts, self.lengths, self.flags, self.numbers = tokens, starts, lengths, flags, numbers
        self.places, self.scored, self.rewards = places, scored, rewards

    def __len__(self) -> int:
        return len(self.lengths)

    def item(self, place: int) -> Example:
        lengths, start = self.lengths[place].tolist(), int(self.starts[place])
        while len(lengths) > PARTS and not lengths[-1]:  # this one has fewer answers
            lengths.pop()
        ids = self.tokens[start : start + sum(lengths)].tolist()
        ends = list(itertools.accumulate(lengths))
        prompt, chosen, rejected, *others = (ids[end - size : end] for end, size in zip(ends, lengths, strict=True))
        flags, number = int(self.flags[place]), int(self.numbers[place])
        return Example(
            prompt, chosen, rejected,
            bool(flags & CUT_CHOSEN), bool(flags & CUT_REJECTED), bool(flags & CUT_PROMPT), self.places(number),
            self.scored.get(number), tuple(others), self._rewards(place, len(lengths) - 1),
        )  # fmt: skip

    def _rewards(self, place: int, answers: int) -> tuple[float, ...]:
        found = [] if self.rewards is None else self.rewards[place, :answers].tolist()
        return () if any(map(math.isnan, found)) else tuple(found)

    def of(self, numbers: Sequence[int]) -> "Examples":
        """Those of the pairs with these numbers, in their order."""
        chosen = np.isin(self.numbers, np.asarray(numbers, np.int32))
        return Examples(
            self.tokens, self.starts[chosen], self.lengths[chosen], self.flags[chosen], self.numbers[chosen],
            self.places, self.scored, self.key, None if self.rewards is None else self.rewards[chosen],
        )  # fmt: skip

    @property
    def arrays(self) -> Arrays:
        """What they consist of."""
        return Arrays(self.tokens, self.lengths, self.flags, self.numbers, self.scored, self.rewards)

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
    notes: list[str] = field(default_factory=list)  # what is to be told of groups, as in `Pairs`


def row_tokens(example: Example) -> int:
    """Tokens of the prompt with the longest answer."""
    return len(example.prompt) + max(map(len, example.answers))


def pair_tokens(example: Example) -> int:
    """Tokens of the prompt with all its answers."""
    return len(example.prompt) + sum(map(len, example.answers))


def lengths_of(examples: Sequence[Example]) -> np.ndarray:
    """Tokens of prompt and answers of each, (n, 1 + A) int32, A being the most answers of one; 0 of an absent one."""
    if isinstance(examples, Examples):
        return examples.lengths
    if not len(examples):
        return np.zeros((0, PARTS), np.int32)
    parts = itertools.zip_longest(*([len(e.prompt), *map(len, e.answers)] for e in examples), fillvalue=0)
    return np.array(list(parts), np.int32).T


def by_length(examples: Sequence[Example]) -> list[int]:
    """Numbers of the examples, those of the fewest `pair_tokens` first."""
    return np.argsort(lengths_of(examples).sum(1), kind="stable").tolist()


def longest(examples: Sequence[Example]) -> tuple[int, int]:
    """The most `row_tokens` and the most `pair_tokens`; 0 of none."""
    if not len(examples):
        return 0, 0
    lengths = lengths_of(examples)
    return int((lengths[:, 0] + lengths[:, 1:].max(1)).max()), int(lengths.sum(1).max())
