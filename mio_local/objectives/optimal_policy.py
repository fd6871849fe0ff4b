"""How far a policy is from the best that rewards allow. Pure numpy, float64, nats.

With a reward R and a strength beta the optimal policy is pi*(y|x) = ref(y|x) e^{R/beta} / Z(x), and

    gap(x) = log Z - E_pi [R/beta - log pi/ref] = KL(pi || pi*) >= 0

From K answers of the reference log Z is estimated as log mean_k e^{R_k/beta}, which is too low on average, the less the
larger K is (arXiv 1509.00519, 1808.05148): so is the gap. It splits (arXiv 1801.03558) into what stays once the adapter
was trained on x alone, the approximation gap, and the rest, the amortisation gap.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mio_local.arrays import NUMPY
from mio_local.objectives.intervals import standard_error


def log_partition(rewards: np.ndarray, beta: float) -> float:
    """log Z_K of one prompt, from the rewards (K,) of answers that the reference drew."""
    scaled = np.asarray(rewards, np.float64) / beta
    return float(NUMPY.logsumexp(scaled, -1)) - float(np.log(len(scaled)))


def value(rewards: np.ndarray, log_ratios: np.ndarray, beta: float) -> float:
    """Mean of R/beta - log pi/ref over answers (K,) that the policy drew to one prompt."""
    return float(np.mean(np.asarray(rewards, np.float64) / beta - np.asarray(log_ratios, np.float64)))


@dataclass(frozen=True)
class Gap:
    """KL(policy || optimal policy) over prompts: nats an answer, and the standard error of each mean.

    `approximation` and `amortisation` are None where the prompts were not trained on one by one.
    """

    total: float
    total_stderr: float
    approximation: float | None = None
    approximation_stderr: float | None = None
    amortisation: float | None = None
    amortisation_stderr: float | None = None
    prompts: int = 0

    @classmethod
    def of(cls, gaps: Sequence[float], alone: Sequence[float] | None = None) -> "Gap":
        """From the gap of each prompt, and each one's after a training on it alone, which is never taken to be more."""
        found = np.asarray(gaps, np.float64)
        total, count = float(found.mean()), len(found)
        if alone is None:
            return cls(total, standard_error(found), prompts=count)
        least = np.minimum(np.asarray(alone, np.float64), found)
        rest = found - least
        return cls(
            total, standard_error(found), float(least.mean()), standard_error(least), float(rest.mean()),
            standard_error(rest), count,
        )  # fmt: skip
