"""MIO and its relatives: one value per pair, written once for numpy, MLX and PyTorch.

Notation, as in the papers: a and d are the log-ratios of the chosen and the rejected answer,

    a = log pi(y_w|x) - log ref(y_w|x)        d = log pi(y_l|x) - log ref(y_l|x)        z_w = beta a,  z_l = beta d

in nats, summed over the answer's tokens (reduction "sum") or divided by their number (reduction "mean", the
length-invariant averaging of arXiv 2406.19188). sp(t) = log(1 + e^t). All values are nats, except IPO's and RLHF-style
rewards, which have no unit.

A new objective is a function here and a line in LOSSES.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal, Protocol

from mio_local.arrays import Array, ArrayNamespace, softplus


@dataclass(frozen=True)
class PairLogps:
    """Log-probs of n pairs, each field of shape (n,). Summed over the answer, or per token once `reduced` by mean."""

    chosen: Array
    rejected: Array
    ref_chosen: Array
    ref_rejected: Array
    chosen_tokens: Array
    rejected_tokens: Array

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
        return replace(
            self,
            chosen=self.chosen / self.chosen_tokens,
            rejected=self.rejected / self.rejected_tokens,
            ref_chosen=self.ref_chosen / self.chosen_tokens,
            ref_rejected=self.ref_rejected / self.rejected_tokens,
        )


def pair_logps(policy: Array, reference: Array, tokens: Array, size: int, rewards: Array | None = None) -> PairLogps:
    """Rows (A * size,) of a batch, answer by answer, as pairs; the rejected (A - 1, size) where A is above 2."""
    chosen = [rows[:size] for rows in (policy, reference, tokens)]
    rejected = [rows[size:] for rows in (policy, reference, tokens)]
    if len(policy) > 2 * size:
        rejected = [rows.reshape(-1, size) for rows in rejected]
    (a, ref_a, tokens_a), (d, ref_d, tokens_d) = chosen, rejected
    return PairLogps(a, d, ref_a, ref_d, tokens_a, tokens_d)


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


@dataclass(frozen=True)
class Loss:
    """A registered objective, and what a chart needs to know of it.

    `reduction`: the published form. `start(beta)`: its value while the policy equals the reference, or None where that
    depends on the data. `target(beta)`: the log-ratio that the chosen answer is drawn to, in nats, or None.
    `rejected`: whether the rejected answer is trained on too. `smoothed`: its form for labels of which a share is
    wrong, or None.
    """

    per_pair: Callable[[ArrayNamespace, PairLogps, float], Array]
    reduction: Literal["sum", "mean"]
    start: Callable[[float], float | None] = lambda beta: None
    target: Callable[[float], float | None] = lambda beta: None
    rejected: bool = True
    smoothed: Callable[[ArrayNamespace, PairLogps, float, float], Array] | None = None


LOSSES: dict[str, Loss] = {
    "mio": Loss(mio, "sum", start=lambda beta: math.log(4), target=lambda beta: math.log(2) / beta),
    "dpo": Loss(dpo, "sum", start=lambda beta: math.log(2), smoothed=conservative_dpo),
    "robust": Loss(dpo, "sum", start=lambda beta: math.log(2), smoothed=robust_dpo),
    "ipo": Loss(ipo, "mean", start=lambda beta: 1 / (4 * beta**2)),
    "sft": Loss(sft, "mean", rejected=False),
}

Objective = Callable[[ArrayNamespace, PairLogps], Array]  # summed log-probs of n pairs -> n losses


def objective(name: str, beta: float, reduction: str, label_smoothing: float = 0.0) -> Objective:
    """The objective that a backend differentiates: log-probs summed over each answer in, one loss per pair out. One
    that has no smoothed form takes no `label_smoothing`."""
    per_pair, smoothed = LOSSES[name].per_pair, LOSSES[name].smoothed
    if label_smoothing and smoothed:
        return lambda xp, p: smoothed(xp, p.reduced(reduction), beta, label_smoothing)
    return lambda xp, p: per_pair(xp, p.reduced(reduction), beta)


def objective_of(loss: LossTerms) -> Objective:
    """The objective of these terms."""
    return objective(loss.name, loss.beta, loss.reduction, loss.label_smoothing)


def dpo_beta(mio_beta: float) -> float:
    """DPO's beta that begins with the same gradient as MIO's: at the start the slope of each log-prob is beta / 4 in
    MIO and beta / 2 in DPO."""
    return mio_beta / 2


def answer_target(name: str, beta: float, reduction: str) -> float | None:
    """The log-ratio, in nats, that a whole chosen answer is drawn to; None where nothing is, or it is per token."""
    return LOSSES[name].target(beta) if reduction == "sum" else None
