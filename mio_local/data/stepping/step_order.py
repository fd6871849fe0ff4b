"""The order that pairs are seen in, and which of them make up a step."""

import math
import random
from collections.abc import Sequence

from mio_local.data.examples import Example, lengths_of

ORDER = "length of the whole pair"  # what `Order.of` sorts by; a run goes on in the order that it began with
WINDOW = 32  # steps whose pairs are sorted by length together: little padding, and still a shuffled order


class Order:
    """Which pairs make up step k: a pure function of (lengths, size, seed, k), so a resumed run sees the same ones.

    Each epoch visits every pair once. Pairs are shuffled, sorted by length within windows of WINDOW steps, cut into
    steps of `size` pairs, and the steps are shuffled.
    """

    def __init__(self, lengths: Sequence[int], size: int, seed: int) -> None:
        self.lengths = list(lengths)
        self.size = size
        self.seed = seed
        self.steps_per_epoch = math.ceil(len(self.lengths) / size)
        self._epoch = -1
        self._steps: list[list[int]] = []

    @classmethod
    def of(cls, examples: Sequence[Example], size: int, seed: int) -> "Order":
        """By the length of the rows that are fed where the prompt is shared: else padding would be twice as much."""
        return cls(lengths_of(examples).sum(1).tolist(), size, seed)

    def pairs(self, k: int) -> list[int]:
        """The pairs of step k (from 0), the shortest first: at most `size` indices."""
        epoch, position = divmod(k, self.steps_per_epoch)
        if epoch != self._epoch:
            self._epoch, self._steps = epoch, self._shuffled(epoch)
        return self._steps[position]

    def _shuffled(self, epoch: int) -> list[list[int]]:
        rng = random.Random(f"{self.seed}/{epoch}")
        order = list(range(len(self.lengths)))
        rng.shuffle(order)
        window = self.size * WINDOW
        steps: list[list[int]] = []
        for start in range(0, len(order), window):
            near = sorted(order[start : start + window], key=lambda i: self.lengths[i])
            steps += [near[i : i + self.size] for i in range(0, len(near), self.size)]
        rng.shuffle(steps)
        return steps
