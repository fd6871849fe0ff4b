"""What passes between the ranks, measured: a sum over all of them, and a question of rank 0's with its answers."""

import statistics
import time
from dataclasses import dataclass

from mio_local.backends import Backend
from mio_local.launched.rank_place import Collective
from mio_local.ranks.link import Link

QUESTIONS = 20  # asked to measure one
FLOAT = 4  # bytes of each number of a gradient


@dataclass(frozen=True)
class LinkSpeed:
    """`ranks` of them: seconds of a sum of `size` bytes of float32 over all, and from a question to the last answer."""

    ranks: int
    size: int
    sum: float
    question: float

    @property
    def rate(self) -> float:
        """Bytes per second to a neighbour, as if a ring did the sum: it passes on 2 (n - 1) / n of the bytes
        (Patarasuk and Yuan, 2009)."""
        return 2 * (self.ranks - 1) / self.ranks * self.size / self.sum


def link_speed(link: Link, collective: Collective, count: int) -> LinkSpeed:
    """Measure a sum of `count` numbers, and a question that wants no work. Raises BackendError where a rank fails."""
    asked = dict.fromkeys(link.others, ("sum_seconds", count))
    slowest = max(link.exchange(asked, lambda: collective.sum_seconds(count), together=True).values())
    times: list[float] = []
    for _ in range(QUESTIONS):
        began = time.perf_counter()
        link.exchange(dict.fromkeys(link.others, ("nothing",)))
        times.append(time.perf_counter() - began)
    return LinkSpeed(len(link.others) + 1, FLOAT * count, slowest, statistics.median(times))


def matrix_rates(link: Link, backend: Backend, device: str, dtype: str) -> dict[int, float]:
    """FLOP per second of products of large matrices on each rank, all at the same time: cores and power are shared."""
    asked = dict.fromkeys(link.others, ("matrix_rate", dtype))
    return link.exchange(asked, lambda: max(backend.matrix_rates(device, dtype)))
