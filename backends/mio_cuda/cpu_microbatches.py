"""Parts of a batch side by side on a CPU, each on its own cores.

A step is some thousand operations, most of them short. On all cores at once each waits at its end for the slowest core,
and those that are no matrix product leave the others idle; a core that has a part to itself waits for nobody.
"""

from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager
from threading import get_ident
from typing import Generic, TypeVar

import torch

from mio_cuda.files import is_quantised
from mio_local.arrays import LANES
from mio_local.data.collate import Batch
from mio_local.process import share_threads, threads

THREADS = torch.get_num_threads()  # before a lane has fewer
T = TypeVar("T")


class Here(Generic[T]):
    """What holds for the part that the calling thread works on. Autograd's own threads, which a GPU has, see the one
    part that there is."""

    def __init__(self) -> None:
        self._values: dict[int, T] = {}

    @contextmanager
    def put(self, value: T) -> Generator[None]:
        self._values[get_ident()] = value
        try:
            yield
        finally:
            del self._values[get_ident()]

    def get(self) -> T:
        values = self._values
        return values[get_ident()] if get_ident() in values else next(iter(values.values()))


def changing(model: torch.nn.Module) -> bool:
    """Whether modules change while they compute, so that no two threads may: quantised ones and RecurrentGemma's keep
    what they made, rotary ones of two kinds set their frequencies by the length that they see, and of a model's own
    code nobody knows."""
    modules = list(model.modules())
    kinds = [getattr(module, "rope_type", None) for module in modules]
    names = {str(name) for kind in kinds for name in (kind.values() if isinstance(kind, dict) else [kind])}
    sources = " ".join(type(module).__module__ for module in modules)
    return (
        any("dynamic" in name or name == "longrope" for name in names) or any(map(is_quantised, modules))
        or "recurrent_gemma" in sources or "transformers_modules." in sources
    )  # fmt: skip


class Lanes:
    """As many parts at a time as PyTorch may use cores, LANES at most; a `single` one on a GPU."""

    def __init__(self, *, single: bool) -> None:
        self.count = 1 if single else min(threads(), LANES)
        share = max(1, THREADS // self.count)
        self._pool = ThreadPoolExecutor(self.count, "lane", torch.set_num_threads, (share,))

    def each(self, parts: list[Batch], work: Callable[[int], T]) -> Generator[tuple[int, T]]:
        """The number of each part and `work` of that number, in an order that the batch alone decides, so that adding
        results up gives the same bits every time: side by side the longest part first, else one after the other."""
        if self.count == 1 or len(parts) == 1:
            yield from ((number, work(number)) for number in range(len(parts)))
            return
        grad = torch.is_grad_enabled()  # each thread has its own

        def run(number: int) -> T:
            with torch.set_grad_enabled(grad):
                return work(number)

        order = sorted(range(len(parts)), key=lambda number: -parts[number].inputs.size)
        share_threads(self.count)  # where PyTorch's products come from an OpenBLAS that the user preloaded
        queue = [(number, self._pool.submit(run, number)) for number in order]
        try:
            while queue:
                number, future = queue.pop(0)
                yield number, future.result()
        finally:
            # after a failure, what has not begun does not; what has is waited for, as it uses the model
            wait([future for _, future in queue if not future.cancel()])
            share_threads(1)
