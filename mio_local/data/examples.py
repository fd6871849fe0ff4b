"""Tokenised pairs, how long they are, and what tokenising did to them."""

from collections.abc import Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Example:
    """A pair as token ids. The prompt is followed by one of the answers, and only the answers' tokens are scored."""

    prompt: list[int]
    chosen: list[int]
    rejected: list[int]
    truncated_chosen: bool
    truncated_rejected: bool
    cut_prompt: bool
    where: str


@dataclass
class EncodeCounts:
    """What encoding did to the pairs: the skipped ones by reason, and how many were shortened."""

    skipped: dict[str, int] = field(default_factory=dict)
    truncated_chosen: int = 0
    truncated_rejected: int = 0
    cut_prompts: int = 0
    problem: str = ""  # what is wrong with the first skipped pair


@dataclass(frozen=True)
class Tokenised:
    """Pairs to train on, those with a cut answer, and rows skipped on the way, of the held-out file too."""

    pairs: int
    truncated: int
    skipped: int


def row_tokens(example: Example) -> int:
    """Tokens of the prompt with the longer answer."""
    return len(example.prompt) + max(len(example.chosen), len(example.rejected))


def pair_tokens(example: Example) -> int:
    """Tokens of the prompt with both answers."""
    return len(example.prompt) + len(example.chosen) + len(example.rejected)


def longest(examples: Sequence[Example]) -> tuple[int, int]:
    """The most `row_tokens` and the most `pair_tokens`; 0 of none."""
    return max(map(row_tokens, examples), default=0), max(map(pair_tokens, examples), default=0)
