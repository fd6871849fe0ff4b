"""Who computes which of a batch's groups: neighbours, and about as many tokens for each rank."""

import itertools
from collections.abc import Sequence

import numpy as np

from mio_local.data.collate import Batch


def shares(lengths: Sequence[int], ranks: int) -> list[range]:
    """The groups of each rank, in order; empty ranges where there are fewer groups than ranks. `lengths`: tokens of
    each group's longest row. The most that a rank is fed, its groups times their longest row, is as small as can be.
    """
    low, high = max(lengths, default=0), len(lengths) * max(lengths, default=0)
    while low < high:  # the least bound that as many ranks can keep to
        bound = (low + high) // 2
        low, high = (low, bound) if len(_cut(lengths, bound)) <= ranks else (bound + 1, high)
    found = _cut(lengths, low)
    return [*found, *[range(len(lengths), len(lengths))] * (ranks - len(found))]


def _cut(lengths: Sequence[int], bound: int) -> list[range]:
    """As few runs of neighbours as keep to a bound."""
    found, first, longest = list[range](), 0, 0
    for place, length in enumerate(lengths):
        longest = max(longest, length)
        if (place - first + 1) * longest > bound and place > first:
            found.append(range(first, place))
            first, longest = place, length
    return [*found, range(first, len(lengths))] if len(lengths) else found


def parts(batch: Batch, ranks: int) -> list[Batch | None]:
    """Each rank's part of a batch, no longer than it needs to be; None where there are fewer groups than ranks."""
    rows = batch.lengths()
    longest: list[int] = rows.reshape(-1, batch.size).max(0).tolist()
    return [batch.some(own) if own else None for own in shares(longest, ranks)]


def spread(count: int, ranks: int) -> list[range]:
    """The numbers below `count` in neighbouring runs, one for each rank, whose lengths differ by 1 at most."""
    ends = np.linspace(0, count, ranks + 1).round().astype(int).tolist()
    return [range(first, last) for first, last in itertools.pairwise(ends)]
