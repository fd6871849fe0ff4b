"""pass@k against its closed formula, and against all choices of k of the answers."""

import itertools
import math

import pytest

from mio_local.making.pass_at_k import pass_at, pass_rate


@pytest.mark.parametrize("drawn", [1, 2, 5, 8])
def test_it_is_the_share_of_all_choices_that_have_a_right_one(drawn):
    for right, k in itertools.product(range(drawn + 1), range(1, drawn + 1)):
        answers = [1] * right + [0] * (drawn - right)
        choices = list(itertools.combinations(answers, k))
        assert pass_at(drawn, right, k) == pytest.approx(sum(map(any, choices)) / len(choices), abs=1e-12)


def test_large_numbers_stay_exact():
    assert pass_at(1000, 3, 100) == pytest.approx(1 - math.comb(997, 100) / math.comb(1000, 100), rel=1e-12)


def test_only_prompts_with_k_rewards_count():
    rewards = [(1.0, 0.0, 0.0), (0.0, None, 0.0), (None, None, 1.0)]
    assert pass_rate(rewards, 1.0, 1) == pytest.approx((1 / 3 + 0 + 1) / 3)
    assert pass_rate(rewards, 1.0, 2) == pytest.approx((2 / 3 + 0) / 2)
    assert pass_rate(rewards, 1.0, 4) is None
