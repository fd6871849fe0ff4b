"""How often one of k answers is right."""

from collections.abc import Sequence

from mio_local.making.answered import Rewards


def pass_at(drawn: int, right: int, k: int) -> float:
    """1 - C(n - c, k) / C(n, k): the chance that k of the n answers drawn, c of them right, have a right one among
    them. The unbiased estimator of arXiv 2107.03374, k at most n."""
    miss = 1.0
    for number in range(k):
        miss *= max(0, drawn - right - number) / (drawn - number)
    return 1 - miss


def pass_rate(rewards: Sequence[Rewards], threshold: float, k: int) -> float | None:
    """The mean of `pass_at` over the prompts that have k rewards or more; None where none has."""
    found: list[float] = []
    for each in rewards:
        given = [reward for reward in each if reward is not None]
        if len(given) >= k:
            found.append(pass_at(len(given), sum(reward >= threshold for reward in given), k))
    return sum(found) / len(found) if found else None
