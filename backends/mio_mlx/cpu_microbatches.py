"""Parts of a batch side by side on a CPU, where MLX runs all that is no matrix product on one core for each stream."""

from collections.abc import Iterator
from typing import Any

import mlx.core as mx
from mlx.utils import tree_flatten

from mio_local.arrays import LANES
from mio_local.data.collate import Batch
from mio_local.process import cores, share_threads


def on_cpu() -> bool:
    """Whether the default device is a CPU."""
    return mx.default_device() == mx.Device(mx.cpu)


class Lanes:
    """Streams of the default device: one for each core of a CPU, one for a GPU. A `single` part at a time is for blocks
    that are recomputed: side by side, the activations of several would be alive at once."""

    def __init__(self, *, single: bool) -> None:
        streams = min(cores(), LANES) if on_cpu() else 1
        self.streams = [mx.new_stream(mx.default_device()) for _ in range(streams)]
        self.count = 1 if single else streams

    def groups(self, batch: Batch, most: int) -> Iterator[list[tuple[int, Batch, list[mx.Stream]]]]:
        """Parts of the batch that run at the same time, of about `most` tokens together: each one's number, the part,
        and the streams it may use."""
        count = self.count
        parts = list(enumerate(batch.split(most // count)))
        try:
            for first in range(0, len(parts), count):
                group = parts[first : first + count]
                share_threads(len(group))
                alone = len(group) == 1
                yield [
                    (number, part, self.streams if alone else [stream])
                    for (number, part), stream in zip(group, self.streams, strict=False)
                ]
        finally:
            share_threads(1)


def evaluate(results: list[Any]) -> None:
    """Compute what each part gave, trees of the same form, an array of each in turn: MLX queues them in this order."""
    leaves = [[array for _, array in tree_flatten(result)] for result in results]
    mx.eval([array for together in zip(*leaves, strict=True) for array in together])
