"""Tokenised pairs, how long they are, and what tokenising did to them."""

from collections.abc import Sequence
from dataclasses import dataclass, field

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


def longest(examples: Sequence[Example]) -> tuple[int, int]:
    """The most `row_tokens` and the most `pair_tokens`; 0 of none."""
    return max(map(row_tokens, examples), default=0), max(map(pair_tokens, examples), default=0)
