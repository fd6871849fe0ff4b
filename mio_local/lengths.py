"""How long tokenised pairs are."""

from collections.abc import Sequence

from mio_local.chat import Example


def row_tokens(example: Example) -> int:
    """Tokens of the prompt with the longer answer."""
    return len(example.prompt) + max(len(example.chosen), len(example.rejected))


def pair_tokens(example: Example) -> int:
    """Tokens of the prompt with both answers."""
    return len(example.prompt) + len(example.chosen) + len(example.rejected)


def longest(examples: Sequence[Example]) -> tuple[int, int]:
    """The most `row_tokens` and the most `pair_tokens`; 0 of none."""
    return max(map(row_tokens, examples), default=0), max(map(pair_tokens, examples), default=0)
