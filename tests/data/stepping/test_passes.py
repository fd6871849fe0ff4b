"""Cutting pairs into forward passes: every pair once, never over the bound, as few passes as that allows."""

import itertools
from types import SimpleNamespace

import numpy as np
import pytest

from mio_local.data.collate import collate
from mio_local.data.examples import Example, lengths_of
from mio_local.data.stepping.passes import in_batches, largest_passes, passes, tokens_fed
from mio_local.learning import PassSize
from mio_local.recipe import build
from mio_local.training.job import Job

SHARED = pytest.mark.parametrize("shared", [False, True])


def example(prompt, *answers):
    first, second, *others = answers
    return Example(prompt, first, second, False, False, False, "", others=tuple(others))


def drawn(count=60, answers=2, longest=90, seed=0):
    """In the order of their length, as the pairs of a step are."""
    rng = np.random.default_rng(seed)
    made = [example(*([1] * n for n in rng.integers(1, longest, 1 + answers))) for _ in range(count)]
    return sorted(made, key=lambda each: len(each.prompt) + sum(map(len, each.answers)))


def fed(examples, pairs, shared):
    return collate(examples, pairs, 0, shared=shared).inputs.size


@SHARED
@pytest.mark.parametrize("answers", [2, 4])
def test_the_tokens_fed_are_those_of_the_batch(shared, answers):
    examples = drawn(20, answers)
    found = tokens_fed(lengths_of(examples), shared=shared)
    assert found.tolist() == [fed(examples, [i], shared) for i in range(20)]


@SHARED
@pytest.mark.parametrize("answers", [2, 3])
@pytest.mark.parametrize("tokens", [1, 200, 500, 1000, 4000, 10**6])
def test_no_pass_is_over_the_bound_unless_a_single_pair_is(shared, answers, tokens):
    examples = drawn(answers=answers)
    cut = passes(examples, range(60), PassSize(60, tokens), shared=shared)
    assert [pair for part in cut for pair in part] == list(range(60))  # every pair once, in their order
    assert all(fed(examples, part, shared) <= tokens or len(part) == 1 for part in cut)
    for part, after in itertools.pairwise(cut):  # and none could have taken one more
        assert fed(examples, [*part, after[0]], shared) > tokens
    assert len(cut) == 60 if tokens == 1 else len(cut) == 1 if tokens == 10**6 else 1 < len(cut) <= 60


def test_by_pairs_a_pass_has_so_many():
    examples = drawn(10)
    assert passes(examples, [3, 1, 2, 0, 4], PassSize(2), shared=True) == [[3, 1], [2, 0], [4]]
    assert passes(examples, [], PassSize(2, 100), shared=True) == []
    assert [len(part) for part in passes(examples, range(10), PassSize(4, 10**6), shared=True)] == [4, 4, 2]


@SHARED
@pytest.mark.parametrize("size", [PassSize(6), PassSize(60, 700), PassSize(8, 900), PassSize(60, 50)])
def test_no_pass_feeds_more_than_the_largest(shared, size):
    """Whatever the order: of many draws of a step, and of the held-out batches."""
    examples, rng = drawn(), np.random.default_rng(1)
    largest = max(fed(examples, part, shared) for part in largest_passes(examples, size, shared=shared))
    seen = [batch.inputs.size for batch in in_batches(examples, size, 0, shared=shared)]
    for _ in range(200):
        step = sorted(rng.permutation(60)[:30].tolist())
        seen += [fed(examples, part, shared) for part in passes(examples, step, size, shared=shared)]
    assert max(seen) <= largest
    longest = largest_passes(examples, size, shared=shared)[0]
    assert max(fed(examples, [i], shared) for i in range(60)) == fed(examples, longest[-1:], shared)


def test_shorter_pairs_may_fill_a_pass_better():
    """Of 160 tokens, one pair of 96 leaves 64 free, and five of 32 none; without any pair there is no pass."""
    short, long = example([1] * 20, [2] * 6, [3] * 6), example([1] * 50, [2] * 21, [3] * 21)
    assert largest_passes([long, *[short] * 7], PassSize(8, 160), shared=True) == [[0], [3, 4, 5, 6, 7]]
    assert largest_passes([long, *[short] * 7], PassSize(8), shared=True) == [[1, 2, 3, 4, 5, 6, 7, 0]]
    assert largest_passes([], PassSize(8, 160), shared=True) == []


KINDS = {  # medians of prompt and answers, and the spread of their logarithms
    "short questions": (60, 120, 0.6), "chats": (300, 250, 0.8), "summaries": (700, 60, 0.4),
}  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("batch", "accumulate", "tokens"), [(4, 1, 0), (4, 4, 0), (16, 1, 0), (16, 1, 4096)])
def test_padding_stays_under_a_tenth(kind, batch, accumulate, tokens):
    """Log-normal lengths cut at 1024, prompts shared, in the order that the trainer takes."""
    prompt, answer, spread = KINDS[kind]
    rng = np.random.default_rng(5)
    draw = lambda middle: np.minimum(rng.lognormal(np.log(middle), spread, 1000), 1000).astype(int) + 2  # noqa: E731
    lengths = np.stack([draw(prompt), draw(answer), draw(answer)], axis=1)
    examples = [example(*([1] * n for n in row)) for row in lengths]
    recipe = build({"train": {"batch_size": batch, "accumulate": accumulate, "batch_tokens": tokens}}, "test")
    order = Job.order.func(SimpleNamespace(recipe=recipe, examples=examples))
    steps = (order.pairs(k) for k in range(order.steps_per_epoch))
    cut = [part for step in steps for part in passes(examples, step, recipe.train.pass_size, shared=True)]
    fed = sum(collate(examples, part, 0, shared=True).inputs.size for part in cut)
    assert 1 - (lengths.sum() - 2 * len(lengths)) / fed < 0.1
