"""Tokenised pairs as flat arrays, how long they are, and what tokenising did to them."""

from array import array
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import overload

import numpy as np

Spans = tuple[tuple[int, int], ...]  # (start, stop) places of tokens, in order
Scored = tuple[Spans, Spans, Spans]  # within the prompt, where they count for both answers, the chosen, the rejected


@dataclass(frozen=True)
class Example:
    """A pair as token ids. The prompt is followed by one of the answers.

    All the answers' tokens are scored, and none of the prompt's, unless `scored` says which are.
    """

    prompt: list[int]
    chosen: list[int]
    rejected: list[int]
    truncated_chosen: bool
    truncated_rejected: bool
    cut_prompt: bool
    where: str
    scored: Scored | None = None

    @property
    def scored_tokens(self) -> tuple[int, int]:
        """How many tokens of the chosen, and of the rejected answer are scored."""
        if self.scored is None:
            return len(self.chosen), len(self.rejected)
        prompt, chosen, rejected = (sum(stop - start for start, stop in spans) for spans in self.scored)
        return prompt + chosen, prompt + rejected


FLAGS = (1, 2, 4)  # of a truncated chosen, a truncated rejected answer, a cut prompt


class Examples(Sequence[Example]):
    """Examples in flat arrays, which may be mapped from a file: an example is made when it is asked for.

    tokens (T,) int32: the prompts, chosen and rejected answers of all pairs, one after the other. lengths (n, 3) int32:
    of each. flags (n,) uint8: truncated chosen (1), truncated rejected (2), cut prompt (4). places: the pairs' own.
    scored: by number, where not all of the answers' tokens are scored, or others too.
    """

    def __init__(
        self, tokens: np.ndarray, lengths: np.ndarray, flags: np.ndarray, places: Sequence[str],
        scored: dict[int, Scored],
    ) -> None:  # fmt: skip
        self.tokens, self.lengths, self.flags, self.places, self.scored = tokens, lengths, flags, places, scored
        self._ends = np.cumsum(lengths.ravel(), dtype=np.int64).reshape(-1, 3)

    def __len__(self) -> int:
        return len(self.lengths)

    @overload
    def __getitem__(self, index: int) -> Example: ...
    @overload
    def __getitem__(self, index: slice) -> list[Example]: ...
    def __getitem__(self, index: int | slice) -> Example | list[Example]:
        if isinstance(index, slice):
            return [self[number] for number in range(*index.indices(len(self)))]
        number = range(len(self))[index]
        prompt, chosen, rejected = self._ends[number].tolist()
        start = prompt - int(self.lengths[number, 0])
        ids = self.tokens[start:rejected].tolist()
        flags = int(self.flags[number])
        return Example(
            ids[: prompt - start], ids[prompt - start : chosen - start], ids[chosen - start :],
            bool(flags & 1), bool(flags & 2), bool(flags & 4), self.places[number], self.scored.get(number),
        )  # fmt: skip

    def __iter__(self) -> Iterator[Example]:
        return (self[number] for number in range(len(self)))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and len(other) == len(self) and all(map(Example.__eq__, self, other))

    __hash__ = None  # type: ignore[assignment]


class Collected:
    """Examples as they come, kept as flat arrays."""

    def __init__(self) -> None:
        self._tokens, self._lengths, self._flags = array("i"), array("i"), array("B")
        self._places: list[str] = []
        self._scored: dict[int, Scored] = {}

    def add(self, example: Example) -> None:
        if example.scored:
            self._scored[len(self._places)] = example.scored
        for ids in (example.prompt, example.chosen, example.rejected):
            self._tokens.extend(ids)
            self._lengths.append(len(ids))
        self._flags.append(example.truncated_chosen | example.truncated_rejected << 1 | example.cut_prompt << 2)
        self._places.append(example.where)

    def examples(self) -> Examples:
        return Examples(
            np.frombuffer(self._tokens, np.int32), np.frombuffer(self._lengths, np.int32).reshape(-1, 3),
            np.frombuffer(self._flags, np.uint8), self._places, self._scored,
        )  # fmt: skip


def collected(examples: Iterable[Example]) -> Examples:
    """The examples as flat arrays."""
    made = Collected()
    for example in examples:
        made.add(example)
    return made.examples()


@dataclass
class EncodeCounts:
    """What encoding did to the pairs: the skipped ones by reason, and how many were shortened."""

    skipped: dict[str, int] = field(default_factory=dict)
    truncated_chosen: int = 0
    truncated_rejected: int = 0
    cut_prompts: int = 0
    problem: str = ""  # what is wrong with the first skipped pair
    # by kind of text that reached no token: how many pairs have such, and where the first of them stands
    lost: dict[str, tuple[int, str]] = field(default_factory=dict)


@dataclass(frozen=True)
class Tokenised:
    """Pairs to train on, those with a cut answer, and rows skipped on the way, of the held-out file too."""

    pairs: int
    truncated: int
    skipped: int
    lost: dict[str, tuple[int, str]] = field(default_factory=dict)  # as in `EncodeCounts`


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
