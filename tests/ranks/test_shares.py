"""Who computes what: every group once, in order, and as many tokens for each rank as can be."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mio_local.data.collate import collate
from mio_local.data.examples import Example
from mio_local.ranks.shares import parts, shares, spread

LENGTHS = st.lists(st.integers(1, 60), min_size=1, max_size=7)


def load(lengths, own):
    """Tokens that a rank is fed, padding included."""
    return len(own) * max((lengths[place] for place in own), default=0)


@given(lengths=LENGTHS, ranks=st.integers(1, 5))
def test_the_largest_share_is_the_smallest_that_there_is(lengths, ranks):
    found = shares(lengths, ranks)
    assert len(found) == ranks
    assert [place for own in found for place in own] == list(range(len(lengths)))
    cuts = itertools.combinations_with_replacement(range(len(lengths) + 1), ranks - 1)
    best = min(
        max(load(lengths, range(first, last)) for first, last in itertools.pairwise([0, *each, len(lengths)]))
        for each in cuts
    )
    assert max(load(lengths, own) for own in found) == best


@given(lengths=st.lists(st.tuples(*[st.integers(1, 9)] * 3), min_size=1, max_size=6), ranks=st.integers(1, 4),
       shared=st.booleans())  # fmt: skip
def test_the_parts_are_what_their_pairs_would_be_alone(lengths, ranks, shared):
    pairs = [Example([1] * p, [2] * c, [3] * r, False, False, False, "") for p, c, r in lengths]
    found = [part for part in parts(collate(pairs, range(len(pairs)), 0, shared=shared), ranks) if part]
    assert [pair for part in found for pair in part.pairs] == list(range(len(pairs)))
    for part in found:
        alone = collate(pairs, part.pairs, 0, shared=shared)
        for name in ("inputs", "where", "targets", "mask", "tokens"):
            np.testing.assert_array_equal(getattr(part, name), getattr(alone, name))


@pytest.mark.parametrize(("count", "ranks"), [(0, 2), (1, 3), (7, 3), (8, 4)])
def test_prompts_are_spread(count, ranks):
    found = spread(count, ranks)
    assert [number for own in found for number in own] == list(range(count))
    assert max(map(len, found)) - min(map(len, found)) <= 1
