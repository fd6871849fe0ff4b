"""Sums over the ranks of a run by torch.distributed."""

import time
from collections.abc import Sequence
from datetime import timedelta

import torch
import torch.distributed as dist

from mio_local.launched.rank_place import ANNOUNCED, Place
from mio_local.process import threads

TIMES = 5  # sums of which the fastest is told
FOREVER = timedelta(days=7)  # a run may be paused; that a rank is gone is found out otherwise


class TorchCollective:
    """`mio_local.launched.rank_place.Collective` by NCCL or gloo, found by the variables that torchrun sets."""

    def __init__(self, place: Place, device: torch.device) -> None:
        self.device, self.seconds = device, 0.0
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

    def sum(self, tensors: Sequence[torch.Tensor]) -> None:
        """Replace each tensor by its sum over the ranks: one float32 message for all of them."""
        began = time.perf_counter()
        whole = torch.cat([tensor.reshape(-1).float() for tensor in tensors])
        dist.all_reduce(whole)
        for tensor, summed in zip(tensors, whole.split([tensor.numel() for tensor in tensors]), strict=True):
            tensor.copy_(summed.view_as(tensor))
        self.seconds += time.perf_counter() - began

    def time_sum(self, count: int) -> float:
        whole, times = torch.zeros(count, device=self.device), list[float]()
        for _ in range(TIMES):
            dist.barrier()
            began = time.perf_counter()
            dist.all_reduce(whole)
            whole[0].item()
            times.append(time.perf_counter() - began)
        return min(times)
