"""How much faster several devices are than one, by what passes between them in a step."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Between:
    """Of a step of `ranks` devices: seconds of the sum of the gradient's `size` bytes over all, seconds of a question
    to all, and how many questions a step has."""

    ranks: int
    size: int
    sum: float
    question: float
    questions: float

    @property
    def seconds(self) -> float:
        """Of a step, in which no device computes."""
        return self.sum + self.questions * self.question

    def of(self, ranks: int) -> float:
        """These seconds for another number of devices at links like these: a ring's sum passes on 2 (n - 1) / n of the
        bytes, and rank 0 asks one after the other."""
        passed = (ranks - 1) / ranks / ((self.ranks - 1) / self.ranks)
        return passed * self.sum + (ranks - 1) / (self.ranks - 1) * self.questions * self.question


def ring_seconds(size: float, ranks: int, rate: float, latency: float) -> float:
    """Seconds in which a ring sums `size` bytes over `ranks`, at `rate` bytes per second and `latency` seconds a
    message: 2 (n - 1) messages one after the other, each of size / n (Patarasuk and Yuan, 2009)."""
    rounds = 2 * (ranks - 1)
    return rounds * (size / ranks / rate + latency)


def speedup(alone: float, ranks: int, between: float) -> float:
    """How many times the pairs per second of one device `ranks` have, where one takes `alone` seconds over the step's
    pairs, which are shared out evenly, and `between` seconds pass without computing."""
    return alone / (alone / ranks + between)
