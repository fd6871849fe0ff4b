"""Examples in flat arrays: groups of several sizes, rewards, and what they are written as."""

from dataclasses import replace

import numpy as np
import pytest

from mio_local.data.examples import Example, lengths_of, longest
from mio_local.data.stored.collected import Collected
from mio_local.data.stored.written import written


def example(number, *answers, rewards=()):
    chosen, rejected, *others = answers
    return Example([1, number], chosen, rejected, False, False, False, str(number), None, tuple(others), rewards)


PAIRS = [example(n, [3] * (n + 1), [4, 5]) for n in range(3)]
GROUPS = [example(3, [3], [4], [5, 6], [7]), example(4, [], [4, 4], [5])]
RATED = [replace(PAIRS[1], rewards=(0.1, -2.0)), replace(GROUPS[0], rewards=(1.0, 0.5, 0.0, -0.25))]


def collected(examples, parts=1):
    """As one process makes them, or as several do whose blocks are joined."""
    made = Collected({9})
    for first in range(0, len(examples), -(-len(examples) // parts)):
        block = made if parts == 1 else Collected({9})
        for number, each in enumerate(examples[first : first + -(-len(examples) // parts)]):
            block.add(each, number)
        if parts > 1:
            made.extend(block.examples(str).arrays, first)
    return made.examples(lambda number: examples[number].where)


@pytest.mark.parametrize("parts", [1, 2, 4])
@pytest.mark.parametrize("examples", [
    PAIRS, [*PAIRS, *GROUPS], [GROUPS[0], *PAIRS, GROUPS[1]], [*PAIRS, *RATED], [RATED[0], *GROUPS, RATED[1]],
])  # fmt: skip
def test_what_goes_in_comes_out(examples, parts):
    found = collected(examples, parts)
    assert list(found) == examples
    assert list(found.of([0, 2])) == [examples[0], examples[2]]
    assert np.array_equal(lengths_of(found), lengths_of(examples))
    assert longest(found) == longest(examples)


def test_pairs_take_what_they_took():
    """Three lengths, a flag and a number of each, and no rewards."""
    found = collected(PAIRS)
    assert (found.lengths.shape, found.lengths.dtype, found.rewards) == ((3, 3), np.int32, None)


def test_what_a_group_is_written_as():
    """A pair as ever; the others and the rewards behind it, so that a resumed run tells another one."""
    found = [b"".join(written(collected([each]))).decode() for each in (PAIRS[1], GROUPS[0], *RATED)]
    assert found == [
        "([1, 1], [3, 3], [4, 5])", "([1, 3], [3], [4])([5, 6], [7])", "([1, 1], [3, 3], [4, 5])(0.1, -2.0)",
        "([1, 3], [3], [4])([5, 6], [7])(1.0, 0.5, 0.0, -0.25)",
    ]  # fmt: skip
