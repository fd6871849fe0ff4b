"""Tokenised pairs to padded arrays, and the order they are seen in. The answer mask is shifted here, nowhere else."""

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mio_local.arrays import PAD_MULTIPLE
from mio_local.chat import Example

WINDOW = 32  # steps whose pairs are sorted by length together: little padding, and still a shuffled order


@dataclass(frozen=True)
class Batch:
    """n pairs as 2n rows, the n chosen answers first.

    inputs (2n, L) int32: the tokens fed. targets (2n, L) int32: the token that each position predicts.
    mask (2n, L) float32: 1 where that target belongs to the answer. tokens (2n,): scored tokens per row.
    pairs: the n indices into the dataset. real_tokens: tokens of all rows, padding not counted.
    """

    inputs: np.ndarray
    targets: np.ndarray
    mask: np.ndarray
    tokens: np.ndarray
    pairs: tuple[int, ...]
    real_tokens: int

    @property
    def size(self) -> int:
        """Pairs in the batch."""
        return len(self.pairs)


def collate(examples: Sequence[Example], pairs: Sequence[int], pad: int) -> Batch:
    """Right-pad the chosen then the rejected rows of `pairs` to one length. `pad` is any valid token id: it is never
    scored, and causal attention never lets an answer see it."""
    rows = [(examples[i].prompt, examples[i].chosen) for i in pairs]
    rows += [(examples[i].prompt, examples[i].rejected) for i in pairs]
    longest = max(len(prompt) + len(answer) for prompt, answer in rows) - 1
    length = math.ceil(longest / PAD_MULTIPLE) * PAD_MULTIPLE
    inputs = np.full((len(rows), length), pad, np.int32)
    targets = np.full((len(rows), length), pad, np.int32)
    mask = np.zeros((len(rows), length), np.float32)
    for row, (prompt, answer) in enumerate(rows):
        ids = [*prompt, *answer]
        inputs[row, : len(ids) - 1] = ids[:-1]
        targets[row, : len(ids) - 1] = ids[1:]
        # position t predicts token t + 1, so the answer's first token is predicted from the prompt's last position
        mask[row, len(prompt) - 1 : len(ids) - 1] = 1.0
    real = sum(len(prompt) + len(answer) for prompt, answer in rows)
    return Batch(inputs, targets, mask, mask.sum(-1), tuple(pairs), real)


class Order:
    """Which pairs make up step k: a pure function of (lengths, sizes, seed, k), so a resumed run sees the same ones.

    Each epoch visits every pair once. Pairs are shuffled, sorted by length within windows of WINDOW steps, cut into
    steps of batch_size * accumulate pairs, and the steps are shuffled. A step's pairs do not depend on how it is split
    into forward passes, so accumulation equals the larger batch.
    """

    def __init__(self, lengths: Sequence[int], batch_size: int, accumulate: int, seed: int) -> None:
        self.lengths = list(lengths)
        self.batch_size = batch_size
        self.group = batch_size * accumulate
        self.seed = seed
        self.steps_per_epoch = math.ceil(len(self.lengths) / self.group)
        self._epoch = -1
        self._steps: list[list[int]] = []

    def step(self, k: int) -> list[list[int]]:
        """The forward passes of step k (from 0): lists of at most batch_size pair indices."""
        epoch, position = divmod(k, self.steps_per_epoch)
        if epoch != self._epoch:
            self._epoch, self._steps = epoch, self._shuffled(epoch)
        pairs = self._steps[position]
        return [pairs[i : i + self.batch_size] for i in range(0, len(pairs), self.batch_size)]

    def _shuffled(self, epoch: int) -> list[list[int]]:
        rng = random.Random(f"{self.seed}/{epoch}")
        order = list(range(len(self.lengths)))
        rng.shuffle(order)
        window = self.group * WINDOW
        steps: list[list[int]] = []
        for start in range(0, len(order), window):
            near = sorted(order[start : start + window], key=lambda i: self.lengths[i])
            steps += [near[i : i + self.group] for i in range(0, len(near), self.group)]
        rng.shuffle(steps)
        return steps
