"""What is reported of a set of pairs, against numbers computed by hand."""

import dataclasses
import math

import numpy as np
import pytest

from mio_local.objectives.losses import PairLogps
from mio_local.objectives.metrics import held_out_metrics, join, pair_metrics
from mio_local.recipe import LossSettings

TRL = {  # DPOTrainer's own names
    "loss", "logps/chosen", "logps/rejected", "rewards/chosen", "rewards/rejected", "rewards/margins",
    "rewards/accuracies",
}


def pairs(a, d, reference=(-10.0, -20.0), tokens=(2.0, 4.0)):
    a, d = np.array(a, np.float32), np.array(d, np.float32)
    ones = np.ones_like(a)
    return PairLogps(a + reference[0] * ones, d + reference[1] * ones, reference[0] * ones, reference[1] * ones,
                     tokens[0] * ones, tokens[1] * ones)


def test_means_by_hand():
    """a = 1, 3; d = -2, 0; beta 0.5: z_w = .5, 1.5, z_l = -1, 0; n_w = 2, n_l = 4."""
    m = pair_metrics(pairs([1, 3], [-2, 0]), LossSettings(name="mio", beta=0.5))
    assert set(m) >= TRL
    assert (m["logps/chosen"], m["logps/rejected"]) == (-8, -21)
    assert (m["ref_logps/chosen"], m["ref_logps/rejected"]) == (-10, -20)
    assert (m["delta/chosen"], m["delta/rejected"]) == (2, -1)
    assert (m["logps/chosen_per_token"], m["logps/rejected_per_token"]) == (-4, -5.25)
    assert (m["delta/chosen_per_token"], m["delta/rejected_per_token"]) == (1, -0.25)
    assert (m["rewards/chosen"], m["rewards/rejected"], m["rewards/margins"]) == (1, -0.5, 1.5)


def test_rewards_follow_the_reduction():
    """Per token: a / 2 = .5, 1.5 and d / 4 = -.5, 0, times beta 0.5; accuracy by these, not by the sums."""
    m = pair_metrics(pairs([1, 3], [-2, 0]), LossSettings(name="mio", beta=0.5, reduction="mean"))
    assert (m["rewards/chosen"], m["rewards/rejected"]) == (0.5, -0.125)
    one = pairs([3.0], [2.0], tokens=(6.0, 1.0))  # 3 > 2 in sum, 1/2 < 2 per token
    assert pair_metrics(one, LossSettings(reduction="sum"))["rewards/accuracies"] == 1
    assert pair_metrics(one, LossSettings(reduction="mean"))["rewards/accuracies"] == 0


def test_accuracy_counts_pairs_not_batches():
    """Margins +1, +1, -9: two of three pairs, though their mean margin is negative."""
    m = pair_metrics(pairs([1, 1, 0], [0, 0, 9]), LossSettings())
    assert m["rewards/accuracies"] == pytest.approx(2 / 3)
    assert m["rewards/margins"] < 0


def test_accuracy_is_strict():
    """Policy equal to reference ranks nothing: 0, not 1, and both bounds are 0."""
    m = pair_metrics(pairs([0, 0], [0, 0]), LossSettings())
    assert m["rewards/accuracies"] == 0
    assert m["loss"] == pytest.approx(math.log(4), abs=1e-12)
    assert (m["mi/js"], m["mi/dv"]) == pytest.approx((0, 0), abs=1e-12)


def test_quantiles_of_z():
    """z_w = 0, 1, ..., 10: its 10 %, 50 % and 90 % quantiles are 1, 5 and 9."""
    m = pair_metrics(pairs(np.arange(11.0), -np.arange(11.0)), LossSettings(beta=1.0))
    assert [m[f"z/chosen_p{p}"] for p in (10, 50, 90)] == pytest.approx([1, 5, 9])
    assert [m[f"z/rejected_p{p}"] for p in (10, 50, 90)] == pytest.approx([-9, -5, -1])


@pytest.mark.parametrize("name", ["mio", "dpo"])
def test_bounds_are_the_losses_turned_round(name):
    """mi/js = ln 4 - L_MIO and mi/dv = ln 2 - L_DPO, so the one that is trained is its loss, mirrored."""
    m = pair_metrics(pairs([1, 3], [-2, 0]), LossSettings(name=name, beta=0.3))
    offset, bound = {"mio": (math.log(4), "mi/js"), "dpo": (math.log(2), "mi/dv")}[name]
    assert m[bound] == pytest.approx(offset - m["loss"], abs=1e-12)


def test_float64_inside():
    """Log-probs of -1e6 with ratios of 1/16 nat (exact in float32): the margin is exact."""
    m = pair_metrics(pairs([0.0625], [-0.0625], reference=(-1e6, -1e6)), LossSettings(beta=1.0))
    assert m["rewards/margins"] == 0.125


def test_join_keeps_every_pair_in_order():
    """Metrics of unequal batches are those of all pairs, not the mean of the batches' means."""
    whole = pairs([1, 2, 30], [0, 0, 0])
    parts = [pairs([1, 2], [0, 0]), pairs([30], [0])]
    joined = join(parts)
    assert joined.chosen.tolist() == whole.chosen.tolist()
    assert pair_metrics(joined, LossSettings()) == pair_metrics(whole, LossSettings())
    assert pair_metrics(joined, LossSettings())["delta/chosen"] == 11


def test_how_sure_the_held_out_figures_are_and_what_length_explains():
    """Chosen answers change by 1, 3, 5 and 7: a deviation of sqrt(20 / 3), over 2. Of two pairs whose chosen answer is
    the longer one both are right, of the shorter one's one none; the last two are of equal length."""
    p = pairs([1, 3, 5, 7], [0, 0, 6, 0])
    p = dataclasses.replace(p, chosen_tokens=np.array([4, 9, 2, 5]), rejected_tokens=np.array([3, 5, 6, 5]))
    m = held_out_metrics(p, LossSettings(reduction="sum"))
    assert m["delta/chosen_stderr"] == pytest.approx(math.sqrt(20 / 3) / 2)
    assert m["delta/rejected_stderr"] == pytest.approx(1.5)
    assert (m["length/longer"], m["length/longer_accuracy"]) == (2, 1)
    assert (m["length/shorter"], m["length/shorter_accuracy"]) == (1, 0)
    assert m.items() >= pair_metrics(p, LossSettings(reduction="sum")).items()
    alike = held_out_metrics(dataclasses.replace(p, rejected_tokens=p.chosen_tokens), LossSettings())
    assert alike["length/longer"] == 0
    assert math.isnan(alike["length/longer_accuracy"])
