"""How given pairs are cut into forward passes: by their number, or by the tokens that are fed.

A step's gradient is the sum over its pairs, so how they are cut changes its memory and its speed, and nothing else.
"""

from collections.abc import Sequence

import numpy as np

from mio_local.arrays import padded
from mio_local.data.collate import Batch, collate
from mio_local.data.examples import Example, by_length, lengths_of
from mio_local.learning import PassSize


def tokens_fed(lengths: np.ndarray, *, shared: bool) -> np.ndarray:
    """Tokens that a pass of each pair alone feeds, padding included, (n,) int64: `lengths` (n, 1 + A) are of prompt and
    answers, of which the last token is not fed. One row with the prompt `shared`, else A rows as long as the longest.
    """
    prompt, answers = lengths[:, 0].astype(np.int64), np.maximum(lengths[:, 1:] - 1, 0)
    rows = prompt + (answers.sum(1) if shared else answers.max(1, initial=0))
    fed = np.array([padded(max(length, 1)) for length in rows.tolist()], np.int64)
    return fed if shared else fed * answers.shape[1]


def passes(examples: Sequence[Example], pairs: Sequence[int], size: PassSize, *, shared: bool) -> list[list[int]]:
    """`pairs` in their order, cut into passes of at most `size`, each as large as that allows.

    By tokens, a pass of n pairs feeds n times those of its longest one, and never more than `size` unless that pair by
    itself does. What is sorted by length is cut with the least padding.
    """
    if not size.tokens:
        return [list(pairs[i : i + size.pairs]) for i in range(0, len(pairs), size.pairs)]
    found: list[list[int]] = []
    longest = 0
    for pair, fed in zip(pairs, tokens_fed(lengths_of(examples)[list(pairs)], shared=shared).tolist(), strict=True):
        longest = max(longest, fed)
        if not found or len(found[-1]) == size.pairs or (len(found[-1]) + 1) * longest > size.tokens:
            found.append([])
            longest = fed
        found[-1].append(pair)
    return found


def largest_passes(examples: Sequence[Example], size: PassSize, *, shared: bool) -> list[list[int]]:
    """The passes that may take the most memory, in whatever order the pairs come: that over the longest ones, and where
    another feeds more tokens, as shorter pairs may fill a pass better, that one too. None of no examples."""
    fed = tokens_fed(lengths_of(examples), shared=shared)
    if not len(fed):
        return []
    order = np.argsort(fed, kind="stable")
    fed = fed[order]
    most = np.minimum(np.arange(1, len(fed) + 1), size.pairs)
    if size.tokens:
        most = np.minimum(most, np.maximum(size.tokens // fed, 1))
    total = most * fed
    last = len(fed) - 1
    ends = {last, last - int(np.argmax(total[::-1]))}  # of several that feed the same, the longest
    return [order[end + 1 - most[end] : end + 1].tolist() for end in sorted(ends, reverse=True)]


def in_batches(examples: Sequence[Example], size: PassSize, pad: int, *, shared: bool = False) -> list[Batch]:
    """All pairs in batches of at most `size` of similar length, the same ones each time."""
    cut = passes(examples, by_length(examples), size, shared=shared)
    return [collate(examples, pairs, pad, shared=shared) for pairs in cut]
