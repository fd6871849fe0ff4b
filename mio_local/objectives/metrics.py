"""What a run reports of a set of pairs or groups, by TRL's names where TRL has one. Pure numpy, float64."""

import math
from dataclasses import dataclass, replace

import numpy as np

from mio_local.arrays import NUMPY
from mio_local.objectives.intervals import Interval, half, mean, ratio_error, share, standard_error
from mio_local.objectives.losses import LOSSES, LossTerms, PairLogps, dpo, mio, objective_of, over_negatives

Metrics = dict[str, float]
QUANTILES = (0.1, 0.5, 0.9)
REJECTED = ("rejected", "ref_rejected", "rejected_tokens")


@dataclass(frozen=True)
class Figure:
    """What is known of each pair or group, `values` (n,), or of each rejected answer of a group, (K, n); `there`, of
    the same shape, says of which it is. Its mean is over all that are there, NaN over none."""

    values: np.ndarray
    there: np.ndarray

    @property
    def each(self) -> np.ndarray:
        """Those that are there, (m,)."""
        return self.values[self.there]

    @property
    def mean(self) -> float:
        return float(np.mean(self.each)) if self.there.any() else math.nan

    @property
    def stderr(self) -> float:
        """The standard error of the mean; the answers of a group are drawn together, and so not independent."""
        if not self._grouped:
            return standard_error(self.each)
        counts = self.there.sum(0)
        some, sums = counts > 0, np.where(self.there, self.values, 0).sum(0)
        return ratio_error(sums[some], counts[some]) if some.any() else math.nan

    def interval(self, *, of_share: bool = False) -> Interval:
        """The mean with its 95 % interval: of the standard error, or for a share of pairs Wilson's."""
        if self.there.any() and not self._grouped:
            return share(self.each) if of_share else mean(self.each)
        value, wide = self.mean, half(self.stderr)
        wide = math.nan if wide is None else wide
        return Interval(value, value - wide, value + wide)

    @property
    def _grouped(self) -> bool:
        return self.values.ndim > 1 and len(self.values) > 1


def pair_metrics(p: PairLogps, loss: LossTerms) -> Metrics:
    """Means over the pairs, or of groups over all the answers that are there; `p` holds numpy log-probs summed over
    each answer.

    logps/*: log pi(y|x), summed, nats. delta/*: the same minus the reference's. */per_token: divided by the answer's
    tokens. rewards/*: z = beta times the log-ratio in the loss's reduction. rewards/accuracies: share of pairs, of a
    chosen with each rejected answer, with z_w > z_l, so 0 while policy equals reference. mi/dv, mi/js, mi/nce: mutual-
    information bounds at z, nats, over groups. z/*: quantiles over answers. reward/mean, reward/std, reward/best, where
    there are rewards: the mean over answers, and over groups the deviation within one and its highest.
    """
    return _means(pair_values(p, loss))


def _means(figures: dict[str, Figure]) -> Metrics:
    metrics = {name: figure.mean for name, figure in figures.items()}
    for name in ("chosen", "rejected"):
        z = figures[f"rewards/{name}"].each
        for level in QUANTILES:
            metrics[f"z/{name}_p{round(level * 100)}"] = float(np.quantile(z, level)) if len(z) else math.nan
    return metrics


def held_out_metrics(p: PairLogps, loss: LossTerms) -> Metrics:
    """`pair_metrics`, and what tells how sure they are and whether length explains them.

    *_stderr: the standard error of a mean; NaN for a single pair. length/longer, length/shorter: the pairs, or groups,
    whose chosen answer has more, or fewer, tokens than the rejected ones on average; length/*_accuracy: rewards/
    accuracies among them, NaN for none.
    """
    figures = pair_values(p, loss)
    metrics, right = _means(figures), figures["rewards/accuracies"]
    metrics |= {f"{name}_stderr": figures[name].stderr for name in ("delta/chosen", "delta/rejected", "loss")}
    tokens = over_negatives(p.rejected_tokens, p.there[1])
    for name, those in (("longer", p.chosen_tokens > tokens), ("shorter", p.chosen_tokens < tokens)):
        found = Figure(right.values, right.there & those)
        metrics[f"length/{name}"] = int(np.sum(np.atleast_2d(found.there).any(0)))
        metrics[f"length/{name}_accuracy"] = found.mean
    return metrics


def pair_values(p: PairLogps, loss: LossTerms) -> dict[str, Figure]:
    """What `pair_metrics` takes the means of, float64."""
    fields = {name: np.asarray(value, np.float64) for name, value in vars(p).items() if value is not None}
    p = replace(p, **fields | {"divergence": p.divergence})
    with np.errstate(invalid="ignore", over="ignore"):  # what is not finite is the health notes' business
        return _values(p, p.reduced("mean"), p.reduced(loss.reduction), loss) | _rewards(p)


def _values(p: PairLogps, token: PairLogps, q: PairLogps, loss: LossTerms) -> dict[str, Figure]:
    """Each figure: `p` summed, `token` per token, `q` in the loss's reduction."""
    z_w, z_l = loss.beta * q.a, loss.beta * q.d
    chosen, rejected = (there > 0 for there in p.there)
    both, some = chosen & rejected, rejected if rejected.ndim == 1 else rejected.any(0)

    def by_group(values: np.ndarray) -> Figure:
        return Figure(over_negatives(values, p.there[1]), chosen & some)

    return {
        "loss": _loss(p, loss, chosen | some),
        "logps/chosen": Figure(p.chosen, chosen),
        "logps/rejected": Figure(p.rejected, rejected),
        "logps/chosen_per_token": Figure(token.chosen, chosen),
        "logps/rejected_per_token": Figure(token.rejected, rejected),
        "ref_logps/chosen": Figure(p.ref_chosen, chosen),
        "ref_logps/rejected": Figure(p.ref_rejected, rejected),
        "delta/chosen": Figure(p.a, chosen),
        "delta/rejected": Figure(p.d, rejected),
        "delta/chosen_per_token": Figure(token.a, chosen),
        "delta/rejected_per_token": Figure(token.d, rejected),
        "rewards/chosen": Figure(z_w, chosen),
        "rewards/rejected": Figure(z_l, rejected),
        "rewards/margins": Figure(z_w - z_l, both),
        "rewards/accuracies": Figure((z_w > z_l).astype(np.float64), both),
        "mi/dv": by_group(math.log(2) - dpo(NUMPY, q, loss.beta)),
        "mi/js": by_group(math.log(4) - mio(NUMPY, q, loss.beta)),
        "mi/nce": Figure(contrastive_bound(q, loss.beta), chosen & some),
    }


def has_loss(p: PairLogps, loss: LossTerms) -> bool:
    """Whether an objective has a value for these pairs: not where it reads rewards and they have none, as held-out ones
    of another source."""
    known = LOSSES[loss.name]
    return p.rewards is not None or not known.rejected or known.needs not in ("rewards", "samples")


def _loss(p: PairLogps, loss: LossTerms, there: np.ndarray) -> Figure:
    if not has_loss(p, loss):
        return Figure(np.full(there.shape, math.nan), np.zeros_like(there))
    return Figure(objective_of(loss)(NUMPY, p), there)


def contrastive_bound(p: PairLogps, beta: float) -> np.ndarray:
    """The K-sample bound on mutual information, InfoNCE (arXiv 1807.03748) with z for the critic, (n,) nats:
    z_w - log((e^z_w + sum_L e^z_l) / (K + 1)) over the K rejected answers that are there. It is never above ln(K + 1),
    and for pairs it is mi/dv."""
    there = np.atleast_2d(p.there[1]) > 0
    behind = np.where(there, np.atleast_2d(-beta * (p.a - p.d)), -math.inf)  # z_l - z_w
    return np.log(there.sum(0) + 1.0) - np.logaddexp.reduce(np.concatenate([np.zeros_like(behind[:1]), behind]))


def _rewards(p: PairLogps) -> dict[str, Figure]:
    if p.rewards is None:
        return {}
    there = np.concatenate([np.atleast_2d(each) for each in p.there]) > 0
    count = there.sum(0)
    some, divisor = count > 0, np.maximum(count, 1)
    middle = np.where(there, p.rewards, 0).sum(0) / divisor
    spread = np.where(there, (p.rewards - middle) ** 2, 0).sum(0) / divisor
    best = np.where(there, p.rewards, -math.inf).max(0)
    return {
        "reward/mean": Figure(p.rewards, there),
        "reward/std": Figure(np.sqrt(spread), some),
        "reward/best": Figure(best, some),
    }


def join(parts: list[PairLogps]) -> PairLogps:
    """Several batches' log-probs as one. Groups of fewer answers than others get absent ones; rewards are kept where
    every part has some; `divergence` is that of the first."""
    grouped = any(part.rejected.ndim > 1 for part in parts)
    most = max(len(np.atleast_2d(part.rejected)) for part in parts)
    fields: dict[str, np.ndarray] = {}
    for name in ("chosen", "ref_chosen", "chosen_tokens", *REJECTED):
        values = [getattr(part, name) for part in parts]
        if grouped and name in REJECTED:
            values = [_filled(each, most) for each in values]
        fields[name] = np.concatenate(values, axis=-1)
    rewards = [_filled(part.rewards, most + 1) for part in parts if part.rewards is not None]
    joined = np.concatenate(rewards, axis=-1) if len(rewards) == len(parts) else None
    return PairLogps(**fields, rewards=joined, divergence=parts[0].divergence)


def _filled(values: np.ndarray, rows: int) -> np.ndarray:
    """(n,) or (k, n) with zeros below: (rows, n)."""
    values = np.atleast_2d(values)
    return np.concatenate([values, np.zeros((rows - len(values), values.shape[1]), values.dtype)])
