"""The order of a run's pairs: every pair once an epoch, and the same again for a run that goes on."""

import numpy as np
import pytest

from mio_local.data.stepping.step_order import Order

LENGTHS = np.random.default_rng(3).integers(5, 400, 1000).tolist()


@pytest.mark.parametrize(("n", "size"), [(1000, 8), (1000, 7), (10, 4), (3, 16), (1, 1)])
def test_each_epoch_is_a_permutation(n, size):
    order = Order(LENGTHS[:n], size, seed=0)
    assert order.steps_per_epoch == -(-n // size)
    epochs = []
    for epoch in range(2):
        steps = [order.pairs(epoch * order.steps_per_epoch + k) for k in range(order.steps_per_epoch)]
        assert all(1 <= len(step) <= size for step in steps)
        assert all(step == sorted(step, key=LENGTHS.__getitem__) for step in steps)
        epochs.append([pair for step in steps for pair in step])
        assert sorted(epochs[-1]) == list(range(n))
    assert n < 10 or epochs[0] != epochs[1]


def test_a_resumed_run_sees_the_same_pairs():
    """Step k does not depend on which steps were asked for before it."""
    straight, jumping = Order(LENGTHS, 8, seed=5), Order(LENGTHS, 8, seed=5)
    expected = [straight.pairs(k) for k in range(400)]
    for k in (399, 0, 130, 124, 125, 126, 7):  # 125 steps an epoch
        assert jumping.pairs(k) == expected[k] == Order(LENGTHS, 8, seed=5).pairs(k)


def test_seed_chooses_the_order():
    one, two = (Order(LENGTHS, 4, seed=seed) for seed in (0, 1))
    assert [one.pairs(k) for k in range(5)] != [two.pairs(k) for k in range(5)]


def test_sorting_by_length_saves_padding():
    """Lengths uniform in 5..400, 8 a batch. Shuffled, a batch is padded to about 8/9 of the range: nearly half is
    padding. Sorted within windows, a batch spans a small part of it."""
    order = Order(LENGTHS, 8, seed=0)
    steps = [order.pairs(k) for k in range(order.steps_per_epoch)]
    plain = np.random.default_rng(0).permutation(len(LENGTHS)).reshape(-1, 8).tolist()

    def waste(batches):
        padded = sum(max(LENGTHS[i] for i in batch) * len(batch) for batch in batches)
        return 1 - sum(LENGTHS) / padded

    assert waste(plain) > 0.35
    assert waste(steps) < 0.05


def test_lengths_stay_mixed_over_the_epoch():
    """Steps are shuffled after sorting: no run from short to long."""
    order = Order(LENGTHS, 8, seed=0)
    means = [np.mean([LENGTHS[i] for i in order.pairs(k)]) for k in range(order.steps_per_epoch)]
    assert abs(np.corrcoef(means, np.arange(len(means)))[0, 1]) < 0.3
