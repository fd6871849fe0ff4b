"""Sums over the ranks of a run by torch.distributed."""

import statistics
from collections.abc import Sequence
from datetime import timedelta

import torch
import torch.distributed as dist

from mio_local.arrays import rates
from mio_local.launched.rank_place import ANNOUNCED, Place
from mio_local.process import threads

FOREVER = timedelta(days=7)  # a run may be paused; that a rank is gone is found out otherwise


class TorchCollective:
    """`mio_local.launched.rank_place.Collective` by NCCL or gloo, found by the variables that torchrun sets."""

    def __init__(self, place: Place, device: torch.device) -> None:
        self.device = device
        if device.type == "cuda":
            torch.cuda.set_device(device)
        else:
            torch.set_num_threads(threads())
        if dist.is_initialized():
            dist.destroy_process_group()
        kind = "nccl" if device.type == "cuda" else "gloo"
        dist.init_process_group(kind, rank=place.rank, world_size=place.size, timeout=FOREVER)

    def announce(self, words: bytes) -> bytes:
        held = torch.zeros(ANNOUNCED, dtype=torch.uint8)
        held[: len(words)] = torch.tensor(list(words), dtype=torch.uint8)
        held = held.to(self.device)
        dist.broadcast(held, 0)
        return bytes(held.tolist()).rstrip(b"\0")

    def sum_seconds(self, count: int) -> float:
        held = torch.zeros(count, device=self.device)

        def once() -> None:
            dist.all_reduce(held)
            if self.device.type == "cuda":
                torch.cuda.synchronize(self.device)

        return 1 / statistics.median(rates(1, once))

    def sum(self, tensors: Sequence[torch.Tensor]) -> None:
        """Replace each tensor by its sum over the ranks: one float32 message for all of them."""
        whole = torch.cat([tensor.reshape(-1).float() for tensor in tensors])
        dist.all_reduce(whole)
        for tensor, summed in zip(tensors, whole.split([tensor.numel() for tensor in tensors]), strict=True):
            tensor.copy_(summed.view_as(tensor))
