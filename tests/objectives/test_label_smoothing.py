"""Objectives for pairs of which a share is the wrong way round: DPO's conservative form and its robust one."""

import math

import numpy as np
import pytest

from mio_local.arrays import NUMPY
from mio_local.errors import RecipeError
from mio_local.objectives.losses import LOSSES, PairLogps, objective, objective_of
from mio_local.objectives.metrics import pair_metrics
from mio_local.recipe import build
from tests.helpers.namespaces import SPACES, from_ratios, grade

spaces = pytest.mark.parametrize("space", SPACES)
NAMES = [name for name, loss in LOSSES.items() if loss.smoothed]
RATIOS = [(0.0, 0.0), (3.0, -2.0), (-7.0, 5.0), (40.0, -30.0)]


def log_sigma(t):
    return -math.log1p(math.exp(-t)) if t > 0 else t - math.log1p(math.exp(t))


FORMULAS = {  # of h = z_w - z_l and e, as the papers and TRL write them
    "dpo": lambda h, e: -(1 - e) * log_sigma(h) - e * log_sigma(-h),
    "robust": lambda h, e: (-(1 - e) * log_sigma(h) + e * log_sigma(-h)) / (1 - 2 * e),
}


@spaces
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("smoothing", [0.01, 0.1, 0.4])
def test_values_and_gradients(space, name, smoothing):
    """The written formula, and its central differences in float64."""
    fields = from_ratios(*np.array(RATIOS).T)
    goal = objective(name, 0.1, "sum", smoothing)
    value, chosen, rejected = grade(space, goal, fields)
    expected = [FORMULAS[name](0.1 * (a - d), smoothing) for a, d in RATIOS]
    np.testing.assert_allclose(value, expected, rtol=2e-5, atol=1e-6)
    slope = [(FORMULAS[name](h + 1e-5, smoothing) - FORMULAS[name](h - 1e-5, smoothing)) / 2e-5
             for h in (0.1 * (a - d) for a, d in RATIOS)]  # fmt: skip
    np.testing.assert_allclose(chosen, 0.1 * np.array(slope), rtol=2e-5, atol=2e-6)
    np.testing.assert_allclose(rejected, -0.1 * np.array(slope), rtol=2e-5, atol=2e-6)


@pytest.mark.parametrize("name", NAMES)
def test_before_the_first_step_it_is_dpos(name):
    """Both answers' log-ratios are 0, so a wrong label makes no difference: ln 2, whatever the share."""
    for smoothing in (0.0, 0.1, 0.4):
        found = objective(name, 0.1, "sum", smoothing)(NUMPY, PairLogps(*from_ratios(0.0, 0.0)))[0]
        assert found == pytest.approx(math.log(2), abs=1e-12)
        assert LOSSES[name].start(0.1) == pytest.approx(found)


def test_conservative_dpo_stops_where_the_label_is_as_sure_as_it_is():
    """Its least value is at sigma(h) = 1 - e, h = ln 9 for a tenth: what is surer is drawn back."""
    goal = objective("dpo", 1.0, "sum", 0.1)
    for h, sign in ((math.log(9) - 0.1, -1), (math.log(9) + 0.1, 1)):
        assert np.sign(grade("numpy", goal, from_ratios(h, 0.0))[1][0]) == sign
    assert grade("numpy", goal, from_ratios(math.log(9), 0.0))[1][0] == pytest.approx(0, abs=1e-9)


def test_robust_dpo_has_the_mean_of_clean_labels():
    """A tenth of the pairs turned round: its mean is DPO's over the pairs as they should be."""
    rng = np.random.default_rng(0)
    a, d = rng.normal(0, 5, (2, 50))
    robust, plain = objective("robust", 0.3, "sum", 0.1), objective("dpo", 0.3, "sum")
    right, turned = (PairLogps(*from_ratios(*ratios)) for ratios in ((a, d), (d, a)))
    found = 0.9 * robust(NUMPY, right) + 0.1 * robust(NUMPY, turned)
    np.testing.assert_allclose(found, plain(NUMPY, right), rtol=1e-10)


@pytest.mark.parametrize("name", [name for name in LOSSES if name not in NAMES])
def test_an_objective_without_such_a_form_refuses_it(name):
    with pytest.raises(RecipeError, match=rf"loss\.label_smoothing = 0\.1: {name} has no form for wrong labels; "
                                          r"use --loss dpo or --loss robust"):  # fmt: skip
        build({"loss": {"name": name, "label_smoothing": 0.1}}, "recipe.toml")
    assert build({"loss": {"name": name, "label_smoothing": 0}}, "recipe.toml").loss.label_smoothing == 0


@pytest.mark.parametrize("share", [0.5, -0.1])
def test_a_share_out_of_range_is_told(share):
    with pytest.raises(RecipeError, match=rf"recipe\.toml: loss\.label_smoothing = {share}: input should be"):
        build({"loss": {"name": "robust", "label_smoothing": share}}, "recipe.toml")


def test_the_recipe_trains_on_it_and_reports_it():
    loss = build({"loss": {"name": "robust", "label_smoothing": 0.1, "beta": 1.0}}, "recipe.toml").loss
    pairs = PairLogps(*from_ratios(1.0, -1.0))
    expected = FORMULAS["robust"](2.0, 0.1)
    assert objective_of(loss)(NUMPY, pairs)[0] == pytest.approx(expected)
    assert pair_metrics(pairs, loss)["loss"] == pytest.approx(expected)
