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
        self.device, self.rank, self.size = device, place.rank, place.size
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

    def most(self, count: int) -> int:
        """The largest of the ranks' numbers."""
        held = torch.tensor(count, device=self.device)
        dist.all_reduce(held, dist.ReduceOp.MAX)
        return int(held)

    def gathered(self, own: torch.Tensor) -> torch.Tensor:
        """Each rank's tensor (n, ...), one behind the other: (size * n, ...)."""
        found = own.new_empty(self.size * len(own), *own.shape[1:])
        if len(own):
            dist.all_gather(list(found.chunk(self.size)), own.contiguous())
        return found

    def exchanged(self, given: torch.Tensor) -> torch.Tensor:
        """Of (size * n, ...), a part for each rank, what each rank had for this one, one behind the other."""
        found = torch.empty_like(given)
        if len(given):
            dist.all_to_all_single(found, given.contiguous())
        return found

    def summed(self, given: torch.Tensor) -> torch.Tensor:
        """The sum over the ranks, on each; of the same shape, in the tensor's own type."""
        dist.all_reduce(given)
        return given

    def of_first(self, given: torch.Tensor) -> torch.Tensor:
        """Rank 0's tensor, on each."""
        found = given.contiguous()
        dist.broadcast(found, 0)
        return found

    def summed_shares(self, given: torch.Tensor) -> torch.Tensor:
        """Of (size * n, ...), a part for each rank, the sum over all ranks of this one's part: (n, ...)."""
        return self.exchanged(given).unflatten(0, (self.size, -1)).sum(0)

    def sum(self, tensors: Sequence[torch.Tensor]) -> None:
        """Replace each tensor by its sum over the ranks: one float32 message for all of them."""
        whole = torch.cat([tensor.reshape(-1).float() for tensor in tensors])
        dist.all_reduce(whole)
        for tensor, summed in zip(tensors, whole.split([tensor.numel() for tensor in tensors]), strict=True):
            tensor.copy_(summed.view_as(tensor))
