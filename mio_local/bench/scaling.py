"""How much faster several devices are than one, by what passes between them in a step."""

from dataclasses import dataclass

from mio_local.ranks.link_speed import LinkSpeed


@dataclass(frozen=True)
class Between(LinkSpeed):
    """What passes in a step: the sum of the gradient over all devices, and so many questions."""

    questions: float

    @property
    def seconds(self) -> float:
        """Of a step, in which no device computes."""
        return self.sum + self.questions * self.question

    def of(self, ranks: int) -> float:
        """These seconds for another number of devices at links like these, whose sum a ring does; rank 0 asks one after
        the other."""
        asked = (ranks - 1) / (self.ranks - 1) * self.questions * self.question
        return ring_seconds(self.size, ranks, self.rate, 0.0) + asked


def ring_seconds(size: float, ranks: int, rate: float, latency: float) -> float:
    """Seconds in which a ring sums `size` bytes over `ranks`, at `rate` bytes per second and `latency` seconds a
    message: 2 (n - 1) messages one after the other, each of size / n (Patarasuk and Yuan, 2009)."""
    rounds = 2 * (ranks - 1)
    return rounds * (size / ranks / rate + latency)


def speedup(alone: float, ranks: int, between: float) -> float:
    """How many times the pairs per second of one device `ranks` have, where one takes `alone` seconds over the step's
    pairs, which are shared out evenly, and `between` seconds pass without computing."""
    return alone / (alone / ranks + between)
