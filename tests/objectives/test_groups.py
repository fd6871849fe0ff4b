"""Groups: one chosen answer with several rejected ones, some absent. Each loss against its pairs' and differences."""

import math

import numpy as np
import pytest

from mio_local.arrays import NUMPY
from mio_local.objectives.losses import LOSSES, PairLogps, objective, pair_logps
from mio_local.objectives.metrics import held_out_metrics, join, pair_metrics
from mio_local.recipe import LossSettings
from tests.helpers.namespaces import SPACES, from_ratios, grade, namespace

spaces = pytest.mark.parametrize("space", SPACES)
names = pytest.mark.parametrize("name", list(LOSSES))
GROUPS, K, BETA = 8, 3, 0.1
THERE = np.ones((K, GROUPS), bool)
THERE[2, ::2] = THERE[1, 4] = THERE[0, 5] = False  # the first of a group's may be the absent one


def groups(seed=0):
    """Eight groups of up to three rejected answers, one to three of them there: fields, as `random_pairs`."""
    rng = np.random.default_rng(seed)
    tokens = rng.integers(1, 61, (1 + K, GROUPS)).astype(np.float64)
    tokens[1:] *= THERE
    reference = -rng.uniform(0.5, 2.5, tokens.shape) * tokens
    policy = reference + rng.normal(0, 3, tokens.shape) * (tokens > 0)
    fields = [policy[0], policy[1:], reference[0], reference[1:], tokens[0], tokens[1:], rng.normal(0, 1, tokens.shape)]
    return [np.asarray(field, np.float32) for field in fields]


def alone(fields, k):
    """The pairs of each group's chosen answer with its rejected answer `k`."""
    chosen, rejected = (0, 2, 4), (1, 3, 5)
    picked = {i: fields[i] for i in chosen} | {i: fields[i][k] for i in rejected} | {6: fields[6][[0, k + 1]]}
    return [picked[i] for i in range(7)]


@pytest.mark.parametrize("space", ["mlx", "torch"])
@names
@pytest.mark.parametrize("reduction", ["sum", "mean"])
def test_value_and_gradient_equal_central_differences(space, name, reduction):
    fields = groups()
    if name in ("dil-lsif", "dil-ukl") and reduction == "sum":
        fields[:2] = [fields[0] / 10 + 0.9 * fields[2], fields[1] / 10 + 0.9 * fields[3]]  # e^d that float32 can hold
    expected = grade("numpy", objective(name, BETA, reduction), fields)
    got = grade(space, objective(name, BETA, reduction), fields)
    for mine, theirs in zip(got, expected, strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=5e-5, atol=5e-5)
    assert not got[2][~THERE].any()  # an absent answer counts nowhere


@pytest.mark.parametrize("name", [name for name, loss in LOSSES.items() if loss.needs in ("pairs", "rewards")])
@pytest.mark.parametrize("reduction", ["sum", "mean"])
def test_a_group_is_the_mean_of_its_pairs(name, reduction):
    fields, goal = [np.asarray(field, np.float64) for field in groups()], objective(name, BETA, reduction)
    with np.errstate(divide="ignore", invalid="ignore"):
        pairs = np.stack([goal(NUMPY, PairLogps(*alone(fields, k))) for k in range(K)])
    expected = np.mean(pairs, axis=0, where=THERE)
    np.testing.assert_allclose(goal(NUMPY, PairLogps(*fields)), expected, rtol=1e-12)


@spaces
def test_mio_of_a_group(space):
    """sp(-z_w) + 1/2 sp(z_w) + 1/2 mean_L sp(z_l), by Python's own floats."""
    fields, expected = groups(), []
    sp = lambda t: math.log1p(math.exp(t))  # noqa: E731
    for g in range(GROUPS):
        z_w = BETA * (float(fields[0][g]) - float(fields[2][g]))
        z_l = [BETA * (float(fields[1][k, g]) - float(fields[3][k, g])) for k in range(K) if THERE[k, g]]
        expected.append(sp(-z_w) + sp(z_w) / 2 + sum(map(sp, z_l)) / len(z_l) / 2)
    np.testing.assert_allclose(grade(space, objective("mio", BETA, "sum"), fields)[0], expected, rtol=1e-5)


def test_rloo_of_a_group():
    """Each sample's r less the mean of the others that are there, times its log-prob, by Python's own floats."""
    fields, expected = [np.asarray(field, np.float64) for field in groups()], []
    for g in range(GROUPS):
        there = [True, *THERE[:, g]]
        logps, refs = ([fields[i][g], *fields[i + 1][:, g]] for i in (0, 2))
        each = zip(fields[6][:, g], logps, refs, there, strict=True)
        found = [(r - BETA * (pi - ref), pi) for r, pi, ref, known in each if known]
        total = sum(r for r, _ in found)
        expected.append(np.mean([-(r - (total - r) / (len(found) - 1)) * pi for r, pi in found]))
    np.testing.assert_allclose(objective("rloo", BETA, "sum")(NUMPY, PairLogps(*fields)), expected, rtol=1e-12)


@spaces
@names
def test_one_rejected_answer_is_the_pair_to_the_bit(space, name):
    fields = [field[:GROUPS] for field in alone(groups(), 0)]
    fields = [np.delete(field, 5, axis=-1) for field in fields]  # absent there
    one = [field[None] if i in (1, 3, 5) else field for i, field in enumerate(fields)]
    goal = objective(name, BETA, LOSSES[name].reduction)
    xp, array = namespace(space)
    pair, group = (np.array(goal(xp, PairLogps(*map(array, each)))) for each in (fields, one))
    assert pair.tobytes() == group.tobytes()
    if space != "numpy":
        pair, group = (grade(space, goal, each) for each in (fields, one))
        assert pair[1].tobytes() == group[1].tobytes()
        assert pair[2].tobytes() == group[2][0].tobytes()


@spaces
@pytest.mark.parametrize("answers", [2, 4])
def test_rows_of_a_batch_become_pairs_or_groups(space, answers):
    """Rows are answer by answer: 0, 1, 2 the chosen ones, 3, 4, 5 the first rejected ones, and so on."""
    _, array = namespace(space)
    rows = np.arange(3.0 * answers)
    found = pair_logps(array(rows), array(-rows), array(rows + 1), 3)
    assert np.array(found.chosen).tolist() == [0, 1, 2]
    assert np.array(found.rejected).tolist() == ([3, 4, 5] if answers == 2 else [[3, 4, 5], [6, 7, 8], [9, 10, 11]])
    assert (np.array(found.ref_rejected) == -np.array(found.rejected)).all()
    assert (np.array(found.rejected_tokens) == np.array(found.rejected) + 1).all()
    assert found.rewards is None


LOSS = LossSettings(name="mio", beta=0.5, reduction="sum")


def ratios(a, d, tokens=None):
    """A group of rejected log-ratios for each chosen one, NaN for none, and rewards of 0, 1, 2, ..."""
    d = np.array(d, np.float64)
    there = ~np.isnan(d)
    d = np.where(there, d, 0)
    count = np.where(there, 4.0, 0.0) if tokens is None else np.array(tokens)
    a, zeros = np.array(a, np.float64), np.zeros_like(d)
    rewards = np.arange(len(d) + 1.0)[:, None] * np.ones(d.shape[1])
    return PairLogps(a, d, 0 * a, zeros, 0 * a + 4, count, rewards)


def test_metrics_of_groups_by_hand():
    """a = 2, -1; d = (0, 4, -2) and (-3, none, none): four rejected answers, of which 4 is above its chosen one."""
    p = ratios([2, -1], [[0, -3], [4, math.nan], [-2, math.nan]])
    m = pair_metrics(p, LOSS)
    assert (m["delta/chosen"], m["delta/rejected"]) == (0.5, -0.25)
    assert m["delta/rejected_per_token"] == pytest.approx(-0.25 / 4)
    assert m["rewards/margins"] == pytest.approx(0.5 * (2 - 2 + 4 + 2) / 4)
    assert m["rewards/accuracies"] == 0.75
    assert m["z/rejected_p50"] == pytest.approx(np.median([0, 2, -1, -1.5]))
    assert m["mi/js"] == pytest.approx(math.log(4) - m["loss"], abs=1e-12)
    first = 1 - math.log((math.exp(1) + math.exp(0) + math.exp(2) + math.exp(-1)) / 4)
    second = -0.5 - math.log((math.exp(-0.5) + math.exp(-1.5)) / 2)
    assert m["mi/nce"] == pytest.approx((first + second) / 2, abs=1e-12)
    assert (m["reward/mean"], m["reward/best"]) == (7 / 6, 2)
    assert m["reward/std"] == pytest.approx((math.sqrt(1.25) + 0.5) / 2)


def test_the_standard_error_takes_the_answers_of_a_group_as_one():
    """The same rejected answer twice tells no more than once."""
    once = ratios([1, 2, 3], [[0, 1, 5]])
    twice = ratios([1, 2, 3], [[0, 1, 5], [0, 1, 5]])
    assert held_out_metrics(twice, LOSS)["delta/rejected_stderr"] == pytest.approx(
        held_out_metrics(once, LOSS)["delta/rejected_stderr"], rel=1e-12)


def test_length_goes_by_the_mean_of_the_rejected_answers():
    p = ratios([1, 1], [[0, 0], [2, math.nan]], tokens=[[1.0, 5.0], [3.0, 0.0]])  # chosen: 4 tokens
    m = held_out_metrics(p, LOSS)
    assert (m["length/longer"], m["length/longer_accuracy"]) == (1, 0.5)
    assert (m["length/shorter"], m["length/shorter_accuracy"]) == (1, 1)


@pytest.mark.parametrize("part", [(0,), (1,), (0, 1)])
def test_answers_may_be_absent_on_either_side(part):
    """Good answers alone, bad ones alone, or both, in rows that have one: each figure over those that are there."""
    fields = from_ratios([3.0, 0.0], [0.0, -2.0])
    for i, row in ((0, 1), (1, 0), (2, 1), (3, 0), (4, 1), (5, 0)):
        fields[i][row] = 0
    m = held_out_metrics(PairLogps(*(field[list(part)] for field in fields)), LossSettings(name="kto", beta=1.0))
    losses = [1 - 1 / (1 + math.exp(-3)), 1 - 1 / (1 + math.exp(-2))]
    assert m["loss"] == pytest.approx(np.mean([losses[i] for i in part]))
    assert m["delta/chosen"] == 3 if 0 in part else math.isnan(m["delta/chosen"])
    assert m["delta/rejected"] == -2 if 1 in part else math.isnan(m["delta/rejected"])
    assert math.isnan(m["rewards/margins"])
    assert m["length/longer"] == m["length/shorter"] == 0


def test_join_fills_groups_up_with_absent_answers():
    """A batch of pairs and one of groups of three: figures are those of all answers that are there."""
    small, large = ratios([2], [[0]]), ratios([-1, 1], [[-3, 0], [1, math.nan], [2, 5]])
    pair = PairLogps(small.chosen, small.rejected[0], small.ref_chosen, small.ref_rejected[0], small.chosen_tokens,
                     small.rejected_tokens[0], small.rewards)  # fmt: skip
    for parts in ([small, large], [pair, large]):
        joined = join(parts)
        assert joined.rejected.tolist() == [[0, -3, 0], [0, 1, 0], [0, 2, 5]]
        assert (joined.rejected_tokens > 0).tolist() == [[True, True, True], [False, True, False], [False, True, True]]
        m, one, other = pair_metrics(joined, LOSS), pair_metrics(small, LOSS), pair_metrics(large, LOSS)
        for name in ("loss", "mi/nce", "reward/best", "reward/std"):  # of groups: one and two
            assert m[name] == pytest.approx((one[name] + 2 * other[name]) / 3), name
        for name in ("delta/rejected", "rewards/accuracies"):  # of rejected answers: one and five
            assert m[name] == pytest.approx((one[name] + 5 * other[name]) / 6), name
    assert join([pair, pair]).rejected.shape == (2,)


def test_the_bound_of_pairs_is_dv_to_the_bit():
    rng = np.random.default_rng(0)
    a, d = rng.normal(0, 5, (2, 200))
    flat = PairLogps(*from_ratios(a, d))
    group = PairLogps(*(field[None] if i % 2 else field for i, field in enumerate(from_ratios(a, d))))
    for p in (flat, group):
        m = pair_metrics(p, LOSS)
        assert m["mi/nce"] == m["mi/dv"]
    assert pair_metrics(flat, LOSS) == pair_metrics(group, LOSS)


def test_the_bound_rises_with_the_rejected_answers_and_stays_under_the_information():
    """Normals of correlation 0.95 have -1/2 ln(1 - 0.95^2) = 1.164 nats. The best critic is log p(y|x) / p(y); rejected
    answers are drawn from p(y). ln(K + 1) is 0.69, 1.39, 2.77."""
    rng, rho, n = np.random.default_rng(0), 0.95, 20_000
    information, last = -0.5 * math.log(1 - rho**2), 0.0
    x = rng.normal(size=n)

    def critic(y):
        return -0.5 * math.log(1 - rho**2) + 0.5 * y**2 - 0.5 * (y - rho * x) ** 2 / (1 - rho**2)

    chosen = critic(rho * x + math.sqrt(1 - rho**2) * rng.normal(size=n))
    for k in (1, 3, 15):
        rejected = critic(rng.normal(size=(k, n)))
        p = PairLogps(chosen, rejected, 0 * chosen, 0 * rejected, 1 + 0 * chosen, 1 + 0 * rejected)
        found = pair_metrics(p, LossSettings(beta=1.0))["mi/nce"]
        assert last + 0.05 < found < min(information, math.log(k + 1))
        last = found
    assert last > 0.85 * information
