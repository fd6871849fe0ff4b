"""Learning rates, computed by hand."""

import pytest

from mio_local.objectives.schedule import learning_rate, warmup_steps
from mio_local.recipe import TrainSettings


def rates(total, **settings):
    train = TrainSettings(learning_rate=1.0, **settings)
    return [learning_rate(train, step, total) for step in range(total)]


def test_constant():
    assert rates(3, schedule="constant", warmup=0) == [1, 1, 1]


def test_warm_up_by_share_is_rounded_up():
    """0.25 of 10 steps: 2.5, so 3 steps at 1/3, 2/3, 3/3."""
    assert warmup_steps(TrainSettings(warmup=0.25), 10) == 3
    assert rates(10, schedule="constant", warmup=0.25) == pytest.approx([1 / 3, 2 / 3, 1] + [1] * 7)


def test_warm_up_by_steps():
    assert rates(6, schedule="constant", warmup=4) == [0.25, 0.5, 0.75, 1, 1, 1]


def test_linear_falls_by_equal_parts_after_the_warm_up():
    """5 steps after 1 of warm-up: 1 - k/4 for k = 0..3 over the remaining 4."""
    assert rates(5, schedule="linear", warmup=1) == [1, 1, 0.75, 0.5, 0.25]


def test_cosine():
    """(1 + cos(pi k/4)) / 2 for k = 0..3: 1, 0.853553, 0.5, 0.146447."""
    assert rates(4, schedule="cosine", warmup=0) == pytest.approx([1, 0.8535533906, 0.5, 0.1464466094])


def test_warm_up_longer_than_the_run_still_ends_at_the_peak():
    assert rates(2, schedule="cosine", warmup=10) == [0.5, 1]


def test_peak_scales_everything():
    train = TrainSettings(learning_rate=3e-5, schedule="linear", warmup=0)
    assert learning_rate(train, 1, 4) == pytest.approx(2.25e-5)
