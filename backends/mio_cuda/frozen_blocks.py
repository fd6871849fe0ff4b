"""The blocks under the lowest adapted one, which give the same for policy and reference: run once for both."""

from collections import OrderedDict
from collections.abc import Generator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

from mio_cuda.cpu_microbatches import Here
from mio_local.data.collate import Batch
from mio_local.models.weights import BLOCK
from mio_local.recipe import NONE_BELOW


class Below:
    """Remembers what the frozen blocks gave for one batch, part by part, from the reference for the policy."""

    def __init__(self, model: Any, adapted: Sequence[str]) -> None:
        matches = [match for name in adapted if (match := BLOCK.match(name))]
        lowest = min(int(match["index"]) for match in matches)
        stem = matches[0]["stem"]
        blocks = model.get_submodule(stem)
        self.blocks = [blocks[index] for index in range(lowest)]
        self.refusal = "" if self.blocks else NONE_BELOW
        self.part: Here[int] = Here()
        self._batch: Batch | None = None
        self._results: dict[int, Any] = {}

    @contextmanager
    def recording(self, batch: Batch) -> Generator[None]:
        """Keep the last frozen block's result for each part of the batch."""
        self._batch, self._results = batch, {}

        def keep(_: Any, __: Any, result: Any) -> None:
            self._results[self.part.get()] = result

        handle = self.blocks[-1].register_forward_hook(keep)
        try:
            yield
        finally:
            handle.remove()

    @contextmanager
    def replaying(self, batch: Batch) -> Generator[None]:
        """In the batch that was recorded, the frozen blocks hand each part's result on."""
        if self._batch is not batch:
            yield
            return
        with ExitStack() as stack:
            for block in self.blocks:
                block.forward = lambda *_, **__: self._results[self.part.get()]
                stack.callback(block.__dict__.pop, "forward")
                stack.enter_context(_without_hooks(block))
            yield

    def forget(self) -> None:
        """Let go of what was kept."""
        self._batch, self._results = None, {}


@contextmanager
def _without_hooks(block: Any) -> Generator[None]:
    """Call a block without what is to happen before and after: the weights of a sharded one need not be gathered."""
    before, after = block._forward_pre_hooks, block._forward_hooks
    block._forward_pre_hooks, block._forward_hooks = OrderedDict(), OrderedDict()
    try:
        yield
    finally:
        block._forward_pre_hooks, block._forward_hooks = before, after
