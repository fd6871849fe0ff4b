"""What a run reports of a set of pairs, by TRL's names where TRL has one. Pure numpy, float64."""

import math

import numpy as np

from mio_local.arrays import NUMPY
from mio_local.objectives.intervals import standard_error
from mio_local.objectives.losses import LossTerms, PairLogps, dpo, mio, objective_of

Metrics = dict[str, float]
QUANTILES = (0.1, 0.5, 0.9)


def pair_metrics(p: PairLogps, loss: LossTerms) -> Metrics:
    """Means over the pairs; `p` holds numpy log-probs summed over each answer.

    logps/*: log pi(y|x), summed, nats. delta/*: the same minus the reference's. */per_token: divided by the answer's
    tokens. rewards/*: z = beta times the log-ratio in the loss's reduction. rewards/accuracies: share of pairs with
    z_w > z_l, so 0 while policy equals reference. mi/dv, mi/js: the two mutual-information bounds at z, nats.
    """
    return _means(*pair_values(p, loss))


def _means(values: dict[str, np.ndarray], z_w: np.ndarray, z_l: np.ndarray) -> Metrics:
    metrics = {name: float(np.mean(value)) for name, value in values.items()}
    for name, z in (("chosen", z_w), ("rejected", z_l)):
        for share in QUANTILES:
            metrics[f"z/{name}_p{round(share * 100)}"] = float(np.quantile(z, share))
    return metrics


def held_out_metrics(p: PairLogps, loss: LossTerms) -> Metrics:
    """`pair_metrics`, and what tells how sure they are and whether length explains them.

    *_stderr: the standard error of a mean; NaN for a single pair. length/longer, length/shorter: the pairs whose chosen
    answer has more, or fewer, tokens than the rejected one; length/*_accuracy: rewards/accuracies among them, NaN for
    none.
    """
    values, z_w, z_l = pair_values(p, loss)
    metrics, right = _means(values, z_w, z_l), values["rewards/accuracies"]
    metrics |= {f"{name}_stderr": standard_error(values[name]) for name in ("delta/chosen", "delta/rejected", "loss")}
    for name, those in (
        ("longer", p.chosen_tokens > p.rejected_tokens), ("shorter", p.chosen_tokens < p.rejected_tokens),
    ):  # fmt: skip
        metrics[f"length/{name}"] = int(np.sum(those))
        metrics[f"length/{name}_accuracy"] = float(right[those].mean()) if those.any() else math.nan
    return metrics


def pair_values(p: PairLogps, loss: LossTerms) -> tuple[dict[str, np.ndarray], np.ndarray, np.ndarray]:
    """What `pair_metrics` takes the means of, (n,) float64 each, and z_w and z_l."""
    p = PairLogps(*(np.asarray(getattr(p, name), np.float64) for name in PairLogps.__dataclass_fields__))
    token = p.reduced("mean")
    q = p.reduced(loss.reduction)
    z_w, z_l = loss.beta * q.a, loss.beta * q.d
    with np.errstate(invalid="ignore", over="ignore"):  # what is not finite is the health notes' business
        return _values(p, token, q, z_w, z_l, loss), z_w, z_l


def _values(
    p: PairLogps, token: PairLogps, q: PairLogps, z_w: np.ndarray, z_l: np.ndarray, loss: LossTerms
) -> dict[str, np.ndarray]:
    """Each figure for each pair: `p` summed, `token` per token, `q` in the loss's reduction."""
    return {
        "loss": objective_of(loss)(NUMPY, p),
        "logps/chosen": p.chosen,
        "logps/rejected": p.rejected,
        "logps/chosen_per_token": token.chosen,
        "logps/rejected_per_token": token.rejected,
        "ref_logps/chosen": p.ref_chosen,
        "ref_logps/rejected": p.ref_rejected,
        "delta/chosen": p.a,
        "delta/rejected": p.d,
        "delta/chosen_per_token": token.a,
        "delta/rejected_per_token": token.d,
        "rewards/chosen": z_w,
        "rewards/rejected": z_l,
        "rewards/margins": z_w - z_l,
        "rewards/accuracies": (z_w > z_l).astype(np.float64),
        "mi/dv": math.log(2) - dpo(NUMPY, q, loss.beta),
        "mi/js": math.log(4) - mio(NUMPY, q, loss.beta),
    }


def join(parts: list[PairLogps]) -> PairLogps:
    """Several batches' log-probs as one."""
    return PairLogps(
        *(np.concatenate([getattr(part, name) for part in parts]) for name in PairLogps.__dataclass_fields__)
    )
