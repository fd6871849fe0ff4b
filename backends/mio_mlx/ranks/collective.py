"""Sums over the ranks of a run by mlx.core.distributed."""

import os
import statistics
from typing import Any

import mlx.core as mx
import numpy as np
from mlx.utils import tree_flatten, tree_unflatten

from mio_local.arrays import rates
from mio_local.errors import BackendError, one_line
from mio_local.launched.rank_place import ANNOUNCED, Place


class MlxCollective:
    """`mio_local.launched.rank_place.Collective` by MLX's ring, JACCL or MPI, found by what mlx.launch sets."""

    def __init__(self, place: Place) -> None:
        kind = "ring" if "MLX_HOSTFILE" in os.environ else "jaccl" if "MLX_JACCL_COORDINATOR" in os.environ else "any"
        try:
            self.group = mx.distributed.init(strict=True, backend=kind)
        except RuntimeError as error:
            raise BackendError(f"MLX finds no other ranks by {kind}: {one_line(error)}") from None
        if self.group.size() != place.size:
            raise BackendError(f"MLX finds {self.group.size()} ranks by {kind}, and not {place.size}")
        self.first = self.group.rank() == 0

    def announce(self, words: bytes) -> bytes:
        held = np.zeros(ANNOUNCED, np.int32)
        if self.first:
            held[: len(words)] = list(words)
        return bytes(np.array(self._summed(mx.array(held))).astype(np.uint8)).rstrip(b"\0")

    def sum_seconds(self, count: int) -> float:
        held = mx.zeros(count)
        mx.eval(held)
        return 1 / statistics.median(rates(1, lambda: self._summed(held)))

    def sum(self, tree: Any) -> Any:
        """A tree of arrays, each summed over the ranks: one float32 message for all of them."""
        leaves: list[tuple[str, mx.array]] = tree_flatten(tree)  # type: ignore[assignment]
        whole = self._summed(mx.concatenate([value.astype(mx.float32).reshape(-1) for _, value in leaves]))
        ends = np.cumsum([value.size for _, value in leaves])[:-1].tolist()
        parts = mx.split(whole, ends) if ends else [whole]
        found = [(name, part.reshape(value.shape)) for (name, value), part in zip(leaves, parts, strict=True)]
        mx.eval(found)
        return tree_unflatten(found)

    def _summed(self, values: mx.array) -> mx.array:
        found = mx.distributed.all_sum(values, group=self.group, stream=mx.Device(mx.cpu))
        mx.eval(found)
        return found
