"""The blocks under the lowest adapted one, which give the same for policy and reference: run once for both."""

from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from typing import Any

from mio_local.data.collate import Batch
from mio_local.models.weights import BLOCK
from mio_local.recipe import NONE_BELOW
from mio_mlx.patching import replace_calls

NOTHING, RECORD = -1, -2  # what the frozen blocks do with their results, where they do not hand on a part's


class Below:
    """Remembers what the frozen blocks gave for one batch, part by part, from the reference for the policy."""

    def __init__(self, blocks: Sequence[Any], adapted: Sequence[str]) -> None:
        lowest = min(int(match["index"]) for name in adapted if (match := BLOCK.match(name)))
        self.refusal = "" if lowest else NONE_BELOW
        self._batch: Batch | None = None
        self._results: list[Any] = []
        self._now = NOTHING
        self._last = blocks[lowest - 1]
        replace_calls(blocks[:lowest], self._call)

    def _call(self, cls: Any) -> Callable[..., Any]:
        switch = self

        def call(module: Any, *args: Any, **kwargs: Any) -> Any:
            if switch._now >= 0:
                return switch._results[switch._now]
            result = cls.__call__(module, *args, **kwargs)
            if module is switch._last and switch._now == RECORD:
                switch._results.append(result)
            return result

        return call

    @contextmanager
    def recording(self, batch: Batch) -> Generator[None]:
        """Keep the last frozen block's result for each part of the batch; it must be evaluated inside."""
        self._batch, self._results, self._now = batch, [], RECORD
        try:
            yield
        finally:
            self._now = NOTHING

    @contextmanager
    def replaying(self, batch: Batch, part: int) -> Generator[None]:
        """In that part of the batch that was recorded, the frozen blocks hand its result on."""
        self._now = part if self._batch is batch else NOTHING
        try:
            yield
        finally:
            self._now = NOTHING

    def forget(self) -> None:
        """Let go of what was kept."""
        self._batch, self._results = None, []
