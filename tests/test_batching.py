"""Batches written out by hand, and the order of a run's pairs."""

import numpy as np
import pytest

from mio_local.arrays import PAD_MULTIPLE
from mio_local.batching import Order, collate
from mio_local.chat import Example


def example(prompt, chosen, rejected):
    return Example(prompt, chosen, rejected, False, False, False, "here")


def test_a_batch_written_out():
    """Position t predicts token t + 1. Pair 0: 5 6 | 7 8 and 5 6 | 9; pair 1: 3 | 4 and 3 | 4 5 6. Chosen rows first.

    The position before the answer (the prompt's last) predicts its first token; the last token is only predicted.
    """
    batch = collate([example([5, 6], [7, 8], [9]), example([3], [4], [4, 5, 6])], [0, 1], pad=0)
    zeros = [0] * (PAD_MULTIPLE - 3)
    assert batch.inputs.tolist() == [[5, 6, 7, *zeros], [3, 0, 0, *zeros], [5, 6, 0, *zeros], [3, 4, 5, *zeros]]
    assert batch.targets.tolist() == [[6, 7, 8, *zeros], [4, 0, 0, *zeros], [6, 9, 0, *zeros], [4, 5, 6, *zeros]]
    assert batch.mask.tolist() == [[0, 1, 1, *zeros], [1, 0, 0, *zeros], [0, 1, 0, *zeros], [1, 1, 1, *zeros]]
    assert batch.tokens.tolist() == [2, 1, 1, 3]
    assert (batch.size, batch.pairs, batch.real_tokens) == (2, (0, 1), 4 + 2 + 3 + 4)
    assert (batch.inputs.dtype, batch.targets.dtype, batch.mask.dtype) == (np.int32, np.int32, np.float32)


def test_scored_targets_are_the_answers_even_where_the_pad_is_a_real_token():
    rng = np.random.default_rng(0)
    draw = lambda: rng.integers(0, 9, rng.integers(1, 40)).tolist()  # noqa: E731
    examples = [example(draw(), draw(), draw()) for _ in range(20)]
    picked = [7, 3, 19]
    batch = collate(examples, picked, pad=4)
    rows = zip(batch.targets, batch.mask, strict=True)
    answers = [examples[i].chosen for i in picked] + [examples[i].rejected for i in picked]
    assert [target[mask == 1].tolist() for target, mask in rows] == answers
    assert batch.inputs.shape[1] % PAD_MULTIPLE == 0


@pytest.mark.parametrize(("longest", "length"), [(17, 16), (18, 32), (2, 16)])
def test_rows_are_padded_to_a_multiple(longest, length):
    """n tokens make n - 1 predictions."""
    assert collate([example([1], [1] * (longest - 1), [1])], [0], 0).inputs.shape == (2, length)


LENGTHS = np.random.default_rng(3).integers(5, 400, 1000).tolist()


@pytest.mark.parametrize(("n", "batch", "accumulate"), [(1000, 4, 2), (1000, 7, 1), (10, 4, 1), (3, 8, 2), (1, 1, 1)])
def test_each_epoch_is_a_permutation(n, batch, accumulate):
    order = Order(LENGTHS[:n], batch, accumulate, seed=0)
    assert order.steps_per_epoch == -(-n // (batch * accumulate))
    epochs = []
    for epoch in range(2):
        steps = [order.step(epoch * order.steps_per_epoch + k) for k in range(order.steps_per_epoch)]
        assert all(len(part) <= batch for step in steps for part in step)
        assert all(1 <= len(step) <= accumulate for step in steps)
        epochs.append([pair for step in steps for part in step for pair in part])
        assert sorted(epochs[-1]) == list(range(n))
    assert n < 10 or epochs[0] != epochs[1]


def test_a_resumed_run_sees_the_same_pairs():
    """Step k does not depend on which steps were asked for before it."""
    straight, jumping = Order(LENGTHS, 4, 2, seed=5), Order(LENGTHS, 4, 2, seed=5)
    expected = [straight.step(k) for k in range(400)]
    for k in (399, 0, 130, 124, 125, 126, 7):  # 125 steps an epoch
        assert jumping.step(k) == expected[k] == Order(LENGTHS, 4, 2, seed=5).step(k)


def test_seed_chooses_the_order():
    one, two = (Order(LENGTHS, 4, 1, seed=seed) for seed in (0, 1))
    assert [one.step(k) for k in range(5)] != [two.step(k) for k in range(5)]


@pytest.mark.parametrize("batch", [1, 2, 4, 8])
def test_accumulation_splits_the_same_pairs(batch):
    """8 pairs a step, however they are cut into forward passes."""
    whole, split = Order(LENGTHS, 8, 1, seed=0), Order(LENGTHS, batch, 8 // batch, seed=0)
    for k in range(2 * whole.steps_per_epoch):
        assert [pair for part in split.step(k) for pair in part] == whole.step(k)[0]


def test_sorting_by_length_saves_padding():
    """Lengths uniform in 5..400, 8 a batch. Shuffled, a batch is padded to about 8/9 of the range: nearly half is
    padding. Sorted within windows, a batch spans a small part of it."""
    order = Order(LENGTHS, 8, 1, seed=0)
    steps = [order.step(k)[0] for k in range(order.steps_per_epoch)]
    plain = np.random.default_rng(0).permutation(len(LENGTHS)).reshape(-1, 8).tolist()

    def waste(batches):
        padded = sum(max(LENGTHS[i] for i in batch) * len(batch) for batch in batches)
        return 1 - sum(LENGTHS) / padded

    assert waste(plain) > 0.35
    assert waste(steps) < 0.05


def test_lengths_stay_mixed_over_the_epoch():
    """Steps are shuffled after sorting: no run from short to long."""
    order = Order(LENGTHS, 8, 1, seed=0)
    means = [np.mean([LENGTHS[i] for i in order.step(k)[0]]) for k in range(order.steps_per_epoch)]
    assert abs(np.corrcoef(means, np.arange(len(means)))[0, 1]) < 0.3
