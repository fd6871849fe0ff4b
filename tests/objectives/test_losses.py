"""The losses against closed forms and finite differences, on numpy, MLX and PyTorch. sp(t) = log(1 + e^t)."""

import math
from typing import NamedTuple

import numpy as np
import pytest

from mio_local.arrays import NUMPY, sequence_logps, token_logps
from mio_local.objectives.losses import LOSSES, Loss, PairLogps, objective, softplus
from mio_local.objectives.metrics import pair_metrics
from mio_local.recipe import LossSettings, build
from tests.helpers.namespaces import SPACES, from_ratios, grade, namespace

LN2, LN3, LN4 = math.log(2), math.log(3), math.log(4)
TIGHT = {"numpy": 1e-8, "mlx": 1e-6, "torch": 1e-6}  # float64 differences; float32 autograd
BETA = 0.1

spaces = pytest.mark.parametrize("space", SPACES)
names = pytest.mark.parametrize("name", list(LOSSES))


def sp(t):
    return math.log1p(math.exp(-abs(t))) + max(t, 0.0)


def sigma(t):
    return 1 / (1 + math.exp(-t))


def loss_at(name, a, d, beta=1.0, reduction="sum", space="numpy"):
    value, chosen, rejected = grade(space, objective(name, beta, reduction), from_ratios(a, d))
    return value[0], chosen[0], rejected[0]


def random_pairs(n=32, seed=0):
    """Summed log-probs of answers of 1 to 60 tokens, log-ratios of a few nats, and rewards."""
    rng = np.random.default_rng(seed)
    tokens = rng.integers(1, 61, (2, n)).astype(np.float64)
    reference = -rng.uniform(0.5, 2.5, (2, n)) * tokens
    policy = reference + rng.normal(0, 3, (2, n))
    return [*policy, *reference, *tokens, rng.normal(0, 1, (2, n))]


@spaces
@pytest.mark.parametrize("beta", [0.05, 0.1, 1.0])
@pytest.mark.parametrize("reduction", ["sum", "mean"])
def test_value_before_the_first_step(space, beta, reduction):
    """a = d = 0: MIO 2 sp(0) = ln 4, DPO sp(0) = ln 2, IPO (0 - 1/(2 beta))^2 = 1/(4 beta^2), DIL 2 sp(0) = 2 ln 2 and
    -1 + 1/2, KTO 1 - sigma(0) = 1/2; the others' depend on the data."""
    expected = {"mio": 1.3862943611198906, "dpo": LN2, "robust": LN2, "ipo": 1 / (4 * beta**2), "dil-bce": 2 * LN2,
                "dil-lsif": -0.5, "kto": 0.5}  # fmt: skip
    assert {name for name, loss in LOSSES.items() if loss.start(beta) is not None} == set(expected)
    fields = random_pairs()
    fields[:2] = fields[2:4]
    for name, value in expected.items():
        got, _, _ = grade(space, objective(name, beta, reduction), fields)
        np.testing.assert_allclose(got, value, rtol=1e-6)
        assert LOSSES[name].start(beta) == pytest.approx(value, rel=1e-12)


class At(NamedTuple):
    """A pair: z of both answers, beta, their log-probs, their rewards."""

    z_w: float
    z_l: float
    beta: float
    chosen: float
    rejected: float
    r_w: float
    r_l: float


FORMULAS = {  # with Python's own floats
    "mio": lambda p: sp(-p.z_w) + sp(p.z_w) / 2 + sp(p.z_l) / 2,
    "dpo": lambda p: sp(-(p.z_w - p.z_l)),
    "robust": lambda p: sp(-(p.z_w - p.z_l)),
    "ipo": lambda p: (p.z_w / p.beta - p.z_l / p.beta - 1 / (2 * p.beta)) ** 2,
    "sft": lambda p: -p.chosen,
    "dil-bce": lambda p: sp(-p.z_w / p.beta) + sp(p.z_l / p.beta),
    "dil-lsif": lambda p: -math.exp(p.z_w / p.beta) + math.exp(p.z_l / p.beta) ** 2 / 2,
    "dil-ukl": lambda p: -p.chosen + math.exp(p.z_l / p.beta),
    "copg": lambda p: ((p.r_w - p.z_w) - (p.r_l - p.z_l)) ** 2,
    "raft": lambda p: -p.chosen,
    "kto": lambda p: (1 - sigma(p.z_w) + 1 - sigma(-p.z_l)) / 2,
    # each one's advantage is over the other alone
    "rloo": lambda p: -(p.r_w - p.z_w - p.r_l + p.z_l) * (p.chosen - p.rejected) / 2,
}


@spaces
@names
@pytest.mark.parametrize("reduction", ["sum", "mean"])
def test_values_equal_the_written_formula(space, name, reduction):
    fields = random_pairs()
    expected = []
    for chosen, rejected, ref_w, ref_l, n_w, n_l, rewards in zip(*fields[:6], fields[6].T, strict=True):
        n_w, n_l = (n_w, n_l) if reduction == "mean" else (1.0, 1.0)
        z_w, z_l = BETA * (chosen - ref_w) / n_w, BETA * (rejected - ref_l) / n_l
        expected.append(FORMULAS[name](At(z_w, z_l, BETA, chosen / n_w, rejected / n_l, *rewards)))
    value, _, _ = grade(space, objective(name, BETA, reduction), fields)
    np.testing.assert_allclose(value, expected, rtol=2e-5, atol=1e-9 if space == "numpy" else 5e-5)


@pytest.mark.parametrize("space", ["mlx", "torch"])
@names
@pytest.mark.parametrize("reduction", ["sum", "mean"])
@pytest.mark.parametrize("beta", [0.1, 1.0])
def test_value_and_gradient_equal_central_differences(space, name, reduction, beta):
    """Autograd in float32 against (L(x + h) - L(x - h)) / 2h in float64."""
    fields = [np.asarray(field, np.float32) for field in random_pairs()]  # both see the same rounded numbers
    expected = grade("numpy", objective(name, beta, reduction), fields)
    got = grade(space, objective(name, beta, reduction), fields)
    for mine, theirs in zip(got, expected, strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=2e-5, atol=2e-5)


@spaces
@pytest.mark.parametrize("beta", [0.1, 1.0])
def test_mio_gradient(space, beta):
    """dL/dz_w = -sigma(-z_w) + sigma(z_w)/2 = 3/2 sigma(z_w) - 1; dL/dz_l = sigma(z_l)/2; times beta for a and d."""
    for z_w, z_l in [(0.0, 0.0), (0.7, -1.2), (-3.0, 2.5), (5.0, -6.0)]:
        _, chosen, rejected = loss_at("mio", z_w / beta, z_l / beta, beta, space=space)
        assert chosen == pytest.approx(beta * (1.5 * sigma(z_w) - 1), abs=TIGHT[space])
        assert rejected == pytest.approx(beta * sigma(z_l) / 2, abs=TIGHT[space])


@spaces
def test_gradient_before_the_first_step(space):
    """MIO -1/4 and +1/4, DPO -1/2 and +1/2, so DPO at beta / 2 starts with MIO's gradient."""
    assert loss_at("mio", 0, 0, space=space)[1:] == pytest.approx((-0.25, 0.25), abs=TIGHT[space])
    assert loss_at("dpo", 0, 0, space=space)[1:] == pytest.approx((-0.5, 0.5), abs=TIGHT[space])
    half = loss_at("dpo", 0, 0, BETA / 2, space=space)[1:]
    assert half == pytest.approx(loss_at("mio", 0, 0, BETA, space=space)[1:], abs=TIGHT[space])


@spaces
@pytest.mark.parametrize("beta", [0.05, 0.1, 1.0])
def test_mio_draws_the_chosen_answer_to_ln_2_over_beta(space, beta):
    """3/2 sigma(z_w) = 1 at sigma = 2/3, z_w = ln 2: pushed up below it, pulled back above it, whatever z_l is."""
    target = LOSSES["mio"].target(beta)
    assert target == pytest.approx(LN2 / beta, rel=1e-12)
    for d in (-20.0, 0.0, 3.0):
        assert loss_at("mio", target, d, beta, space=space)[1] == pytest.approx(0, abs=TIGHT[space])
        assert loss_at("mio", target - 1, d, beta, space=space)[1] < 0 < loss_at("mio", target + 1, d, beta,
                                                                                 space=space)[1]


@spaces
def test_mio_infimum_and_vanishing_push_down(space):
    """At z_w = ln 2, z_l -> -inf: sp(-ln 2) + sp(ln 2)/2 = ln(3/2) + ln(3)/2 = 3/2 ln 3 - ln 2, gradient 0."""
    value, chosen, rejected = loss_at("mio", LN2, -60.0, space=space)
    assert value == pytest.approx(0.9547712524, abs=1e-6)
    assert value == pytest.approx(1.5 * LN3 - LN2, abs=1e-6)
    assert (chosen, rejected) == pytest.approx((0, 0), abs=TIGHT[space])
    for d in (-1.0, -5.0, -10.0):  # sigma(z_l)/2 < e^{z_l}/2
        assert 0 < loss_at("mio", LN2, d, space=space)[2] < math.exp(d) / 2 + TIGHT[space]
    grid = np.linspace(-30, 30, 601)
    everywhere = objective("mio", 1.0, "sum")(NUMPY, PairLogps(*from_ratios(*np.meshgrid(grid, grid))))
    assert everywhere.min() >= 1.5 * LN3 - LN2 - 1e-12


@spaces
@pytest.mark.parametrize("shared", [-4.0, 2.0])
def test_tokens_shared_by_both_answers_cancel_in_dpo_alone(space, shared):
    """A common log-ratio c moves (a, d) to (a + c, d + c): DPO sees a - d; MIO's gradient in c is not zero."""
    assert loss_at("dpo", 1 + shared, -2 + shared, space=space) == pytest.approx(
        loss_at("dpo", 1, -2, space=space), abs=TIGHT[space])
    expected = sp(-1 - shared) + sp(1 + shared) / 2 + sp(-2 + shared) / 2
    assert loss_at("mio", 1 + shared, -2 + shared, space=space)[0] == pytest.approx(expected, abs=1e-6)
    assert abs(expected - loss_at("mio", 1, -2, space=space)[0]) > 0.1


@names
def test_mean_reduction_divides_policy_and_reference_by_their_tokens(name):
    fields = random_pairs()
    n_w, n_l, rewards = fields[4:]
    divided = [x / n for x, n in zip(fields[:4], (n_w, n_l, n_w, n_l), strict=True)] + [n_w, n_l, rewards]
    mean = objective(name, BETA, "mean")(NUMPY, PairLogps(*fields))
    assert np.array_equal(mean, objective(name, BETA, "sum")(NUMPY, PairLogps(*divided)))
    twice = [*(2 * x for x in fields[:6]), rewards]  # an answer written twice has the same mean
    np.testing.assert_allclose(objective(name, BETA, "mean")(NUMPY, PairLogps(*twice)), mean, rtol=1e-12)


def test_ipo_sum_is_the_dpo_codes_and_mean_is_trls():
    """DPO repository: (logits - 1/(2 beta))^2 of summed log-ratios. TRL: each log-ratio over its own tokens first."""
    a, d, n_w, n_l = 6.0, -3.0, 3.0, 2.0
    p = PairLogps(*from_ratios(a, d, (n_w, n_l)))
    assert objective("ipo", 0.1, "sum")(NUMPY, p)[0] == pytest.approx((9.0 - 5.0) ** 2)
    assert objective("ipo", 0.1, "mean")(NUMPY, p)[0] == pytest.approx((2.0 + 1.5 - 5.0) ** 2)
    assert LOSSES["ipo"].reduction == "mean"


@spaces
def test_sft_takes_no_reference_no_beta_and_no_rejected_answer(space):
    fields = random_pairs()
    other = [fields[0], *(field + 7 for field in fields[1:4]), *fields[4:]]
    one, two = grade(space, objective("sft", 0.1, "mean"), fields), grade(space, objective("sft", 2.0, "mean"), other)
    assert all(np.array_equal(x, y) for x, y in zip(one, two, strict=True))
    np.testing.assert_allclose(one[1], -1 / fields[4], rtol=1e-5)
    assert not one[2].any()


def test_both_losses_are_mutual_information_bounds():
    """T = z, P = chosen, Q = an even mix. JS: -sp(-T_w) - (sp(T_w) + sp(T_l))/2 = -L_MIO. DV: T_w - log of the mean
    of e^{T_w} and e^{T_l} = ln 2 - L_DPO. The metrics add ln 4 to JS, so that both are 0 for an untrained policy."""
    for z_w, z_l in [(0.0, 0.0), (1.3, -0.4), (-2.0, 3.0)]:
        js = -sp(-z_w) - (sp(z_w) + sp(z_l)) / 2
        dv = z_w - math.log((math.exp(z_w) + math.exp(z_l)) / 2)
        assert -js == pytest.approx(loss_at("mio", z_w, z_l)[0], abs=1e-12)
        assert -dv == pytest.approx(loss_at("dpo", z_w, z_l)[0] - LN2, abs=1e-12)
        metrics = pair_metrics(PairLogps(*from_ratios(z_w, z_l)), LossSettings(beta=1.0))
        assert (metrics["mi/js"], metrics["mi/dv"]) == pytest.approx((LN4 + js, dv), abs=1e-12)


@spaces
@pytest.mark.parametrize("name", [name for name in LOSSES if name not in ("dil-lsif", "dil-ukl")])  # these have an e^d
@pytest.mark.parametrize("reduction", ["sum", "mean"])
def test_extreme_log_ratios_stay_finite(space, name, reduction):
    corners = np.array([(a, d) for a in (-1e4, 0, 1e4) for d in (-1e4, 0, 1e4)])
    fields = [*from_ratios(*corners.T, (7.0, 3.0)), np.ones((2, len(corners)))]
    for values in grade(space, objective(name, 1.0, reduction), fields):
        assert np.isfinite(values).all()


@spaces
def test_softplus_far_out(space):
    """sp(t) -> t and 0: no overflow at 1e4, no rounding to 0 at -20 (2.0611536e-9)."""
    xp, array = namespace(space)
    assert np.array(softplus(xp, array([1e4, -1e4, -20.0]))) == pytest.approx([1e4, 0.0, 2.0611536e-9], rel=1e-5)


@spaces
def test_a_new_objective_is_one_registry_line(space, monkeypatch):
    """Hinge (SLiC): max(0, 1 - (z_w - z_l)), here by its smooth form, through recipe, gradient and metrics."""
    monkeypatch.setitem(LOSSES, "hinge", Loss(lambda xp, p, beta: softplus(xp, 1 - beta * (p.a - p.d)), "mean"))
    settings = build({"loss": {"name": "hinge", "beta": 1.0}}, "recipe.toml").loss
    assert settings.reduction == "mean"
    hinge = objective(settings.name, settings.beta, settings.reduction)
    value, chosen, rejected = grade(space, hinge, from_ratios(4.0, 1.0, (2.0, 1.0)))
    assert value[0] == pytest.approx(sp(0.0), abs=1e-6)
    assert (chosen[0], rejected[0]) == pytest.approx((-0.25, 0.5), abs=TIGHT[space])
    assert pair_metrics(PairLogps(*from_ratios(4.0, 1.0, (2.0, 1.0))), settings)["loss"] == pytest.approx(LN2)


@spaces
def test_token_and_sequence_logps(space):
    """log softmax at the target, by torch's own log_softmax and by float64 numpy; an answer's is the sum of its own."""
    rng = np.random.default_rng(1)
    logits = rng.normal(0, 4, (3, 7, 50)).astype(np.float32)
    targets = rng.integers(0, 50, (3, 7))
    exact = logits.astype(np.float64)
    exact = exact - np.log(np.exp(exact).sum(-1, keepdims=True))
    expected = np.take_along_axis(exact, targets[..., None], -1)[..., 0]
    torch = pytest.importorskip("torch")
    theirs = torch.nn.functional.log_softmax(torch.tensor(logits), -1).gather(-1, torch.tensor(targets)[..., None])
    xp, array = namespace(space)
    got = np.array(token_logps(xp, array(logits), array(targets)))
    np.testing.assert_allclose(got, expected, rtol=1e-5, atol=2e-6)
    np.testing.assert_allclose(got, theirs[..., 0].numpy(), rtol=1e-5, atol=2e-6)
    owner = rng.integers(0, 4, 21)  # of each of the 21 tokens; answer 4 has none
    mask = (owner == np.arange(5)[:, None]).astype(np.float32)
    whole = np.array(sequence_logps(array(got.ravel()), array(mask)))
    np.testing.assert_allclose(whole, np.bincount(owner, expected.ravel(), 5), rtol=1e-5)


@spaces
def test_token_logps_of_huge_logits(space):
    """logits (1e4, 0): log-probs 0 and -1e4, no overflow."""
    xp, array = namespace(space)
    logits = np.array([[[1e4, 0.0], [1e4, 0.0]]], np.float32)
    assert np.array(token_logps(xp, array(logits), array(np.array([[0, 1]])))).tolist() == [[0.0, -1e4]]
