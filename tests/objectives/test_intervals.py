"""Intervals: they cover as often as they say, and columns stay together."""

import math

import numpy as np
import pytest

from mio_local.objectives.intervals import means, proportion, ratio_error, ratios, share


def test_the_interval_of_a_share_is_the_binomial_one():
    """Quantiles of Binomial(n, p) / n, by the normal approximation, to a fifth of their width."""
    n, right = 400, 300
    found = means({"accuracy": np.repeat([1.0, 0.0], [right, n - right])}, 0)["accuracy"]
    half = 1.96 * np.sqrt(0.75 * 0.25 / n)
    assert found.value == 0.75
    assert found.low == pytest.approx(0.75 - half, abs=0.1 * half)
    assert found.high == pytest.approx(0.75 + half, abs=0.1 * half)


def test_wilson():
    assert proportion(0.5, 100) == pytest.approx((0.4038, 0.5962), abs=1e-4)
    assert proportion(0.0, 10) == pytest.approx((0.0, 0.2775), abs=1e-4)
    assert proportion(None, 10) == proportion(0.5, 0) == proportion(2, 10) == (None, None)


@pytest.mark.parametrize("n", [10, 40])
def test_the_interval_of_a_share_covers_as_often_as_it_says(n):
    """Summed over all outcomes of n draws of probability 0.9."""
    covered = 0.0
    for right in range(n + 1):
        found = share(np.repeat([1.0, 0.0], [right, n - right]))
        assert found.high > found.low
        covered += math.comb(n, right) * 0.9**right * 0.1 ** (n - right) * (found.low <= 0.9 <= found.high)
    assert covered == pytest.approx(0.95, abs=0.035)


def test_columns_are_resampled_together():
    values = np.random.default_rng(1).normal(0, 5, 300)
    found = means({"one": values, "other": values + 2, "difference": np.full(300, 2.0)}, 3)
    assert found["other"].low - found["one"].low == pytest.approx(2)
    assert found["difference"].low == pytest.approx(2) == found["difference"].high
    assert found == means({"one": values, "other": values + 2, "difference": np.full(300, 2.0)}, 3)
    assert found != means({"one": values, "other": values + 2, "difference": np.full(300, 2.0)}, 4)
    whole = ratios({"r": (values, np.full(300, 4.0))}, 3)["r"]
    assert whole.low == pytest.approx(found["one"].low / 4)


def test_what_is_not_finite_has_no_interval():
    found = means({"loss": np.array([1.0, np.nan, 2.0])}, 0)["loss"]
    assert np.isnan([found.value, found.low]).all()
    assert means({"loss": np.ones(1)}, 0)["loss"].high == 1


def test_the_error_of_a_ratio_is_that_of_its_resamples():
    """The bootstrap's interval of the same ratio is 2 times 1.96 of it wide, to a tenth."""
    drawn = np.random.default_rng(5)
    bottoms = drawn.integers(20, 60, 200).astype(np.float64)
    tops = 0.1 * bottoms + drawn.normal(0, 2, 200)
    found = ratios({"r": (tops, bottoms)}, 0)["r"]
    assert found.high - found.low == pytest.approx(2 * 1.96 * ratio_error(tops, bottoms), rel=0.1)
    assert math.isnan(ratio_error(tops[:1], bottoms[:1]))
