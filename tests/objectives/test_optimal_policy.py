"""The distance to the optimal policy, on a bandit where all of it is known exactly."""

import numpy as np
import pytest

from mio_local.objectives.optimal_policy import Gap, log_partition, value

BETA = 0.5
RNG = np.random.default_rng(0)
REF = RNG.dirichlet(np.ones(6))
REWARDS = RNG.normal(size=6)
OPTIMAL = REF * np.exp(REWARDS / BETA) / (REF * np.exp(REWARDS / BETA)).sum()
LOG_Z = float(np.log((REF * np.exp(REWARDS / BETA)).sum()))


def divergence(policy: np.ndarray) -> float:
    return float((policy * np.log(policy / OPTIMAL)).sum())


def test_the_gap_is_the_divergence_from_the_optimal_policy() -> None:
    policy = RNG.dirichlet(np.ones(6))
    arms = RNG.choice(6, 400_000, p=policy)
    gap = LOG_Z - value(REWARDS[arms], np.log(policy / REF)[arms], BETA)
    assert gap == pytest.approx(divergence(policy), abs=0.01)


def test_the_optimal_policy_has_none_whatever_is_drawn() -> None:
    arms = RNG.choice(6, 20, p=OPTIMAL)
    assert LOG_Z - value(REWARDS[arms], np.log(OPTIMAL / REF)[arms], BETA) == pytest.approx(0, abs=1e-12)


@pytest.mark.slow
def test_the_partition_rises_with_the_number_of_answers_towards_its_true_value() -> None:
    means = [
        np.mean([log_partition(REWARDS[RNG.choice(6, k, p=REF)], BETA) for _ in range(20_000)]) for k in (1, 2, 8, 64)
    ]
    assert means == sorted(means)
    assert means[0] < LOG_Z - 0.1
    assert means[-1] == pytest.approx(LOG_Z, abs=0.02)
    assert means[-1] < LOG_Z


def test_rewards_that_would_overflow_are_taken_as_they_are() -> None:
    assert log_partition(np.array([1e4, 1e4]), 1e-2) == pytest.approx(1e6)


def test_it_splits_into_what_more_rank_and_what_more_training_would_give() -> None:
    gap = Gap.of([2.0, 4.0, 3.0], [0.5, 1.0, 3.5])  # the last one's was not made less by training: of itself
    assert gap.total == pytest.approx(3)
    assert gap.approximation == pytest.approx((0.5 + 1 + 3) / 3)
    assert gap.amortisation == pytest.approx((1.5 + 3 + 0) / 3)
    assert gap.approximation + gap.amortisation == pytest.approx(gap.total)
