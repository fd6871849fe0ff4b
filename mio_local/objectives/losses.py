"""MIO and its relatives: one value per pair or group, written once for numpy, MLX and PyTorch.

Notation, as in the papers: a and d are the log-ratios of the chosen and the rejected answer,

    a = log pi(y_w|x) - log ref(y_w|x)        d = log pi(y_l|x) - log ref(y_l|x)        z_w = beta a,  z_l = beta d

in nats, summed over the answer's tokens (reduction "sum") or divided by their number (reduction "mean", the
length-invariant averaging of arXiv 2406.19188). sp(t) = log(1 + e^t). All values are nats, except IPO's, CoPG's, KTO's
and RLHF-style rewards, which have no unit.

A group has K rejected answers: d and z_l are (K, n), and what a loss is for each of them is averaged over those that
are there. So MIO of a group is sp(-z_w) + 1/2 sp(z_w) + 1/2 mean_L sp(z_l). An answer without tokens is absent, and
counts nowhere.

A new objective is a function here and a line in LOSSES.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Literal, Protocol

from mio_local.arrays import Array, ArrayNamespace, sigmoid, softplus


@dataclass(frozen=True)
class PairLogps:
    """Log-probs of n pairs, each field of shape (n,), or of n groups: the rejected answers' are then (K, n). Summed
    over the answer, or per token once `reduced` by mean. An absent answer has 0 tokens, and log-probs of 0.

    `rewards`: (1 + K, n), the chosen answers' first, or None. `divergence`: KTO's z0, nats, in the loss's reduction.
    """

    chosen: Array
    rejected: Array
    ref_chosen: Array
    ref_rejected: Array
    chosen_tokens: Array
    rejected_tokens: Array
    rewards: Array | None = None
    divergence: float = 0.0

    @property
    def a(self) -> Array:
        """Log-ratio of the chosen answers, nats."""
        return self.chosen - self.ref_chosen

    @property
    def d(self) -> Array:
        """Log-ratio of the rejected answers, nats."""
        return self.rejected - self.ref_rejected

    def reduced(self, reduction: str) -> "PairLogps":
        """Themselves for "sum"; divided by their token counts, policy and reference alike, for "mean"."""
        if reduction == "sum":
            return self
        chosen_tokens = self.chosen_tokens + (self.chosen_tokens == 0)  # so that what is absent stays 0
        rejected_tokens = self.rejected_tokens + (self.rejected_tokens == 0)
        return replace(
            self,
            chosen=self.chosen / chosen_tokens,
            rejected=self.rejected / rejected_tokens,
            ref_chosen=self.ref_chosen / chosen_tokens,
            ref_rejected=self.ref_rejected / rejected_tokens,
        )

    @property
    def there(self) -> tuple[Array, Array]:
        """1 for each chosen and each rejected answer that is there, 0 for an absent one."""
        return (self.chosen_tokens > 0) * 1.0, (self.rejected_tokens > 0) * 1.0

    @property
    def rewards_of_both(self) -> tuple[Array, Array]:
        """The rewards of the chosen and of the rejected answers, shaped as those."""
        if self.rewards is None:
            raise ValueError("this objective needs a reward for each answer")
        return self.rewards[0], self.rewards[1:] if self.rejected.ndim > 1 else self.rewards[1]


def pair_logps(policy: Array, reference: Array, tokens: Array, size: int, rewards: Array | None = None) -> PairLogps:
    """Rows (A * size,), all chosen answers first, then all first rejected ones and so on, as `size` pairs, or as groups
    where A is above 2. `rewards`: (A, size), or None."""
    chosen = [rows[:size] for rows in (policy, reference, tokens)]
    rejected = [rows[size:] for rows in (policy, reference, tokens)]
    if len(tokens) > 2 * size:
        rejected = [rows.reshape(-1, size) for rows in rejected]
    (pi_w, ref_w, n_w), (pi_l, ref_l, n_l) = chosen, rejected
    return PairLogps(pi_w, pi_l, ref_w, ref_l, n_w, n_l, rewards)


def summed(values: Array) -> Array:
    """Values of the rejected answers summed over those of a group, (K, n) -> (n,); those of pairs are as they are."""
    return values.sum(0) if values.ndim > 1 else values


def over_negatives(values: Array, there: Array) -> Array:
    """Values (K, n) averaged over the rejected answers that are `there` (K, n), 0 where none is: (n,). Those of pairs
    are as they are."""
    if values.ndim == 1:
        return values
    count = summed(there)
    return summed(values * there) / (count + (count == 0))


class LossTerms(Protocol):
    """An objective by name, its beta, its reduction ("sum" or "mean"), and the share of pairs that it takes to be the
    wrong way round."""

    @property
    def name(self) -> str: ...
    @property
    def beta(self) -> float: ...
    @property
    def reduction(self) -> str: ...
    @property
    def label_smoothing(self) -> float: ...


def mio(xp: ArrayNamespace, p: PairLogps, beta: float) -> Array:
    """MIO (arXiv 2506.22578), the negative Jensen-Shannon bound: sp(-z_w) + 1/2 sp(z_w) + 1/2 sp(z_l).

    The same expression as pairwise NCA (arXiv 2402.05369) and TRL's `nca_pair`. Smallest in z_w at ln 2.
    """
    z_w, z_l = beta * p.a, beta * p.d
    return softplus(xp, -z_w) + 0.5 * softplus(xp, z_w) + 0.5 * softplus(xp, z_l)


def dpo(xp: ArrayNamespace, p: PairLogps, beta: float) -> Array:
    """DPO (arXiv 2305.18290, Eq. 7), the negative Donsker-Varadhan bound plus ln 2: sp(-(z_w - z_l))."""
    return softplus(xp, -beta * (p.a - p.d))


def conservative_dpo(xp: ArrayNamespace, p: PairLogps, beta: float, smoothing: float) -> Array:
    """Conservative DPO (Mitchell 2023, https://ericmitchell.ai/cdpo.pdf, Eq. 3): DPO's mean over a label that is wrong
    with probability `smoothing`, (1 - e) sp(-h) + e sp(h) with h = z_w - z_l. Smallest at h = ln((1 - e) / e)."""
    h = beta * (p.a - p.d)
    return (1 - smoothing) * softplus(xp, -h) + smoothing * softplus(xp, h)


def robust_dpo(xp: ArrayNamespace, p: PairLogps, beta: float, smoothing: float) -> Array:
    """Robust DPO (arXiv 2403.00409), as TRL's `robust`: ((1 - e) sp(-h) - e sp(h)) / (1 - 2 e), whose mean over
    labels that are wrong with probability e is DPO's loss of the right ones."""
    h = beta * (p.a - p.d)
    return ((1 - smoothing) * softplus(xp, -h) - smoothing * softplus(xp, h)) / (1 - 2 * smoothing)


def ipo(xp: ArrayNamespace, p: PairLogps, beta: float) -> Array:
    """IPO (arXiv 2310.12036, Eq. 17): (a - d - 1/(2 beta))^2. Per token it is TRL's reading; summed, the DPO code's."""
    return (p.a - p.d - 1 / (2 * beta)) ** 2


def sft(xp: ArrayNamespace, p: PairLogps, beta: float) -> Array:
    """Supervised fine-tuning on the chosen answer alone: -log pi(y_w|x). Takes no reference and no beta."""
    return -p.chosen


def raft(xp: ArrayNamespace, p: PairLogps, beta: float) -> Array:
    """RAFT (arXiv 2304.06767): supervised fine-tuning on the sample of the highest reward, which is the chosen one:
    -log pi(y_w|x)."""
    return -p.chosen


def dil_bce(xp: ArrayNamespace, p: PairLogps, beta: float) -> Array:
    """DIL by binary cross-entropy (arXiv 2503.05079): sp(-a) + sp(d), without a beta. TRL's `bco_pair` at beta 1."""
    return softplus(xp, -p.a) + softplus(xp, p.d)


def dil_lsif(xp: ArrayNamespace, p: PairLogps, beta: float) -> Array:
    """DIL by least squares of the density ratio (LSIF; arXiv 2503.05079): -e^a + 1/2 e^(2 d), without a beta."""
    return -xp.exp(p.a) + 0.5 * xp.exp(2 * p.d)


def dil_ukl(xp: ArrayNamespace, p: PairLogps, beta: float) -> Array:
    """DIL by the unnormalised KL divergence (arXiv 2503.05079): -log pi(y_w|x) + e^d, without a beta."""
    return -p.chosen + xp.exp(p.d)


def copg(xp: ArrayNamespace, p: PairLogps, beta: float) -> Array:
    """Contrastive policy gradient (arXiv 2406.19185): ((R_w - beta a) - (R_l - beta d))^2, 0 for all answers where pi
    is in proportion to ref e^(R / beta). With R_w - R_l = 1/2 it is beta^2 times IPO."""
    reward_w, reward_l = p.rewards_of_both
    return ((reward_w - beta * p.a) - (reward_l - beta * p.d)) ** 2


def kto(xp: ArrayNamespace, p: PairLogps, beta: float) -> Array:
    """KTO (arXiv 2402.01306): 1 - sigma(beta (a - z0)) of a good answer, the chosen one, 1 - sigma(beta (z0 - d)) of a
    bad one, averaged over the answers that are there. z0 is `p.divergence`, which has no gradient."""
    there_w, there_l = p.there
    good, bad = sigmoid(xp, beta * (p.divergence - p.a)), sigmoid(xp, beta * (p.d - p.divergence))
    count = there_w + summed(there_l)
    return (good * there_w + summed(bad * there_l)) / (count + (count == 0))


def rloo(xp: ArrayNamespace, p: PairLogps, beta: float) -> Array:
    """RLOO (arXiv 2402.14740): the mean over the samples of -A_i log pi(y_i|x), with A_i = r_i less the mean of the
    others' r, and r_i = R_i - beta times the log-ratio, without gradient. A lone sample has no advantage."""
    (there_w, there_l), (reward_w, reward_l) = p.there, p.rewards_of_both
    r_w = xp.stop_gradient(reward_w - beta * p.a) * there_w
    r_l = xp.stop_gradient(reward_l - beta * p.d) * there_l
    count, total = there_w + summed(there_l), r_w + summed(r_l)
    others = count - 1 + 2 * (count < 2)  # a divisor where there is no other, too
    gain_w = (r_w - (total - r_w) / others) * there_w * p.chosen
    gain_l = (r_l - (total - r_l) / others) * there_l * p.rejected
    return -(gain_w + summed(gain_l)) * (count > 1) / (count + (count == 0))


Needs = Literal["pairs", "rewards", "samples", "labels"]


@dataclass(frozen=True)
class Loss:
    """A registered objective, and what a chart needs to know of it.

    `reduction`: the published form. `start(beta)`: its value while the policy equals the reference, or None where that
    depends on the data. `target(beta)`: the log-ratio that the chosen answer is drawn to, in nats, or None.
    `rejected`: whether the rejected answer is trained on too. `smoothed`: its form for labels of which a share is
    wrong, or None. `needs`: a chosen answer with rejected ones ("pairs"); the same with a reward for each ("rewards");
    answers with rewards, which all count alike ("samples"); good answers, bad ones, or both ("labels").
    """

    per_pair: Callable[[ArrayNamespace, PairLogps, float], Array]
    reduction: Literal["sum", "mean"]
    start: Callable[[float], float | None] = lambda beta: None
    target: Callable[[float], float | None] = lambda beta: None
    rejected: bool = True
    smoothed: Callable[[ArrayNamespace, PairLogps, float, float], Array] | None = None
    needs: Needs = "pairs"


LOSSES: dict[str, Loss] = {
    "mio": Loss(mio, "sum", start=lambda beta: math.log(4), target=lambda beta: math.log(2) / beta),
    "dpo": Loss(dpo, "sum", start=lambda beta: math.log(2), smoothed=conservative_dpo),
    "robust": Loss(dpo, "sum", start=lambda beta: math.log(2), smoothed=robust_dpo),
    "ipo": Loss(ipo, "mean", start=lambda beta: 1 / (4 * beta**2)),
    "sft": Loss(sft, "mean", rejected=False),
    "dil-bce": Loss(dil_bce, "mean", start=lambda beta: 2 * math.log(2)),
    "dil-lsif": Loss(dil_lsif, "mean", start=lambda beta: -0.5),
    "dil-ukl": Loss(dil_ukl, "mean"),
    "copg": Loss(copg, "sum", needs="rewards"),
    "raft": Loss(raft, "mean", rejected=False, needs="rewards"),
    "kto": Loss(kto, "sum", start=lambda beta: 0.5, needs="labels"),
    "rloo": Loss(rloo, "sum", needs="samples"),
}

Objective = Callable[[ArrayNamespace, PairLogps], Array]  # summed log-probs of n pairs or groups -> n losses


def objective(
    name: str, beta: float, reduction: str, label_smoothing: float = 0.0, divergence: float | None = None
) -> Objective:
    """The objective that a backend differentiates: log-probs summed over each answer in, one loss per pair or group
    out. One that has no smoothed form takes no `label_smoothing`. `divergence`: KTO's z0 in place of the log-probs'."""
    return partial(_losses, name, beta, reduction, label_smoothing, divergence)


def _losses(
    name: str, beta: float, reduction: str, label_smoothing: float, divergence: float | None, xp: ArrayNamespace,
    p: PairLogps,
) -> Array:  # fmt: skip
    """A function of this module, so that other processes can be given it."""
    per_pair, smoothed = LOSSES[name].per_pair, LOSSES[name].smoothed
    q = p.reduced(reduction)
    q = q if divergence is None else replace(q, divergence=divergence)
    found = smoothed(xp, q, beta, label_smoothing) if label_smoothing and smoothed else per_pair(xp, q, beta)
    return over_negatives(found, p.there[1])


def objective_of(loss: LossTerms, divergence: float | None = None) -> Objective:
    """The objective of these terms; `divergence` is KTO's z0."""
    return objective(loss.name, loss.beta, loss.reduction, loss.label_smoothing, divergence)


def dpo_beta(mio_beta: float) -> float:
    """DPO's beta that begins with the same gradient as MIO's: at the start the slope of each log-prob is beta / 4 in
    MIO and beta / 2 in DPO."""
    return mio_beta / 2


def answer_target(name: str, beta: float, reduction: str) -> float | None:
    """The log-ratio, in nats, that a whole chosen answer is drawn to; None where nothing is, or it is per token."""
    return LOSSES[name].target(beta) if reduction == "sum" else None
