"""Objectives of rewards and of labels: their identities, and where they lead."""

import numpy as np
import pytest

from mio_local.arrays import NUMPY
from mio_local.objectives.losses import LOSSES, PairLogps, objective, objective_of
from mio_local.objectives.metrics import pair_metrics
from mio_local.recipe import build
from tests.helpers.namespaces import SPACES, from_ratios, grade

spaces = pytest.mark.parametrize("space", SPACES)
RATIOS = np.array([(0.0, 0.0), (3.0, -2.0), (-7.0, 5.0), (1.0, 0.5)]).T


def rewarded(chosen, rejected):
    return [*from_ratios(*RATIOS), np.stack([np.full(4, chosen), np.full(4, rejected)])]


def test_what_each_objective_needs():
    needs = {name: loss.needs for name, loss in LOSSES.items() if loss.needs != "pairs"}
    assert needs == {"copg": "rewards", "raft": "rewards", "kto": "labels", "rloo": "samples"}
    assert {name for name, loss in LOSSES.items() if not loss.rejected} == {"sft", "raft"}


@spaces
@pytest.mark.parametrize("beta", [0.1, 1.0])
def test_copg_of_rewards_half_apart_is_ipo(space, beta):
    """(1/2 - beta (a - d))^2 = beta^2 (a - d - 1 / (2 beta))^2."""
    copg = grade(space, objective("copg", beta, "sum"), rewarded(0.75, 0.25))
    ipo = grade(space, objective("ipo", beta, "sum"), from_ratios(*RATIOS))
    for mine, theirs in zip(copg, ipo, strict=True):
        np.testing.assert_allclose(mine, beta**2 * theirs, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("beta", [0.5, 2.0])
def test_copg_on_a_bandit_finds_the_closed_form(beta):
    """Six arms, each the chosen one beside five others: descent from the reference ends at pi ~ ref e^(R / beta)."""
    rng, arms = np.random.default_rng(0), 6
    logits, rewards = rng.normal(0, 1, arms), rng.normal(0, 1, arms)
    reference = logits - NUMPY.logsumexp(logits, 0)
    others = np.array([[j for j in range(arms) if j != i] for i in range(arms)]).T  # (5, 6)
    best = np.exp(reference + rewards / beta)
    best /= best.sum()
    assert np.abs(best - np.exp(reference)).max() > 0.05
    goal, one = objective("copg", beta, "sum"), np.ones(arms)
    fixed = [reference, reference[others], one, one[others], np.concatenate([rewards[None], rewards[others]])]
    for _ in range(300):
        policy = logits - NUMPY.logsumexp(logits, 0)
        _, chosen, rejected = grade("numpy", goal, [policy, policy[others], *fixed])
        slope = chosen + np.bincount(others.ravel(), rejected.ravel(), arms)
        logits = logits - 0.15 / beta**2 * (slope - np.exp(policy) * slope.sum())
    np.testing.assert_allclose(np.exp(logits - NUMPY.logsumexp(logits, 0)), best, atol=1e-3)


@spaces
def test_raft_is_supervised_training_on_the_best_sample(space):
    raft, sft = (grade(space, objective(name, 0.1, "mean"), rewarded(1.0, 0.0)) for name in ("raft", "sft"))
    for mine, theirs in zip(raft, sft, strict=True):
        assert mine.tobytes() == theirs.tobytes()
    np.testing.assert_allclose(raft[1], -1, rtol=1e-6)  # it is trained


@spaces
def test_rloo_without_beta_goes_by_the_rewards_alone(space):
    """Of two samples the better one has the difference as its advantage, the other one its negative."""
    _, chosen, rejected = grade(space, objective("rloo", 0.0, "sum"), rewarded(1.0, 0.25))
    np.testing.assert_allclose(chosen, -0.75 / 2, rtol=1e-6)
    np.testing.assert_allclose(rejected, 0.75 / 2, rtol=1e-6)


@spaces
def test_a_lone_sample_has_no_advantage(space):
    fields = rewarded(1.0, 0.0)
    fields[1], fields[3], fields[5] = np.zeros((3, 4, 4))
    for found in grade(space, objective("rloo", 0.1, "sum"), fields):
        assert not found.any()


@spaces
def test_the_divergence_moves_where_kto_is_steepest(space):
    """z0 from outside, or with the log-probs: a good answer weighs most at a = z0, by beta / 4, over the row's two."""
    goal = objective("kto", 0.5, "sum", divergence=3.0)
    value, chosen, _ = grade(space, goal, from_ratios(3.0, 3.0))
    assert value[0] == pytest.approx(0.5, abs=1e-6)
    assert chosen[0] == pytest.approx(-0.5 / 4 / 2, abs=1e-6)
    assert abs(grade(space, objective("kto", 0.5, "sum"), from_ratios(3.0, 3.0))[1][0]) < 0.9 * 0.5 / 4 / 2


def test_the_divergence_is_reported_as_it_was_trained_on():
    loss = build({"loss": {"name": "kto", "beta": 0.5}}, "recipe.toml").loss
    p = PairLogps(*from_ratios(*RATIOS), divergence=2.0)
    expected = objective_of(loss, 2.0)(NUMPY, PairLogps(*from_ratios(*RATIOS)))
    assert pair_metrics(p, loss)["loss"] == pytest.approx(expected.mean(), rel=1e-12)
    assert pair_metrics(PairLogps(*from_ratios(*RATIOS)), loss)["loss"] != pytest.approx(expected.mean())


@pytest.mark.parametrize("name", ["copg", "rloo"])
def test_rewards_that_are_not_there_are_told(name):
    with pytest.raises(ValueError, match="needs a reward for each answer"):
        objective(name, 0.1, "sum")(NUMPY, PairLogps(*from_ratios(*RATIOS)))
