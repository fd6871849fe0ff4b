"""A model whose frozen base lies on several ranks, a share on each: all of them make each of its calls."""

from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any

from mio_cuda.model import CudaModel
from mio_cuda.ranks.collective import TorchCollective
from mio_cuda.ranks.sharded_base import ShardedBase
from mio_local.data.collate import Batch
from mio_local.errors import BackendError
from mio_local.sampling import Sampling


class ShardedModel(CudaModel):
    """Every pass gathers the base block by block, so all ranks make as many, whatever each has to do. `model` is whole,
    and on the CPU: its blocks go to the collective's device as their shares."""

    collected = True

    def __init__(self, model: Any, collective: TorchCollective, *, grad_checkpoint: bool) -> None:
        super().__init__(model, collective.device, grad_checkpoint=grad_checkpoint)
        self.ranks = collective

    def _spread(self, base: Any) -> None:
        self.base = ShardedBase(base, self.ranks, list(self.parameters.values()))
        self.head.most = self.ranks.most

    def _turns(self, batch: Batch) -> tuple[list[Batch], int]:
        parts, count = super()._turns(batch)
        return [*parts, *parts[-1:] * (self.ranks.most(count) - count)], count

    @contextmanager
    def _adapter(self, reference: bool, *, alike: bool = True) -> Generator[None]:
        with super()._adapter(reference), self.base.vocabulary.alike() if alike else nullcontext():
            yield

    def stream(
        self, prompt: Sequence[int], sampling: Sampling, stop: Sequence[int], told: Callable[[int], bool],
        *, reference: bool,
    ) -> None:  # fmt: skip
        raise BackendError("a base that is spread over several devices answers no conversation; load it on one")
