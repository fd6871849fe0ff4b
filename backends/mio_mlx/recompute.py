"""Gradient checkpointing for MLX blocks, without touching their classes, and dropout that survives it."""

from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from typing import Any

import mlx.core as mx
import mlx.nn as nn

from mio_local.data.collate import Batch, seed_of
from mio_mlx.patching import replace_calls


class Recompute:
    """Makes each block of `layers` forget its activations while `on`, and recompute them in the backward pass.

    mlx-lm patches a class's `__call__` for good and misses a hybrid model's other block classes; here every block gets
    a subclass of its own class. Off during generation: a block that fills a key-value cache must not run twice.
    """

    def __init__(self, layers: list[nn.Module]) -> None:
        self.on = False
        replace_calls(layers, self._call)

    def _call(self, cls: Any) -> Callable[..., Any]:
        switch = self

        def call(module: Any, *args: Any, **kwargs: Any) -> Any:
            if not switch.on:
                return cls.__call__(module, *args, **kwargs)

            def inner(parameters: Any, *args: Any, **kwargs: Any) -> Any:
                module.update(parameters)
                args = tuple(held.get(place, given) for place, given in enumerate(args))
                return cls.__call__(module, *args, **{**kwargs, **named})

            # masks have no gradient, and what attends by them knows them by identity: they stay what they are
            held = {place: given for place, given in enumerate(args) if _is_mask(given)}
            named = {name: given for name, given in kwargs.items() if _is_mask(given)}
            args = tuple(None if place in held else given for place, given in enumerate(args))
            kwargs = {name: given for name, given in kwargs.items() if name not in named}
            return mx.checkpoint(inner)(module.trainable_parameters(), *args, **kwargs)

        return call


def _is_mask(given: Any) -> bool:
    return isinstance(given, mx.array) and given.dtype == mx.bool_


class KeyedDropout(nn.Dropout):
    """Dropout by the seeds of the rows that it drops from, which `renew` sets: a recomputed block drops what it dropped
    before, and a pair the same in any batch. What has lost the rows, as tokens sorted by expert, is drawn at once, by
    the seeds of all."""

    def __call__(self, x: mx.array) -> mx.array:
        if not self.training:
            return x
        rows = self._rows
        if not self._apart and x.ndim == 3 and len(x) == len(rows) and x.shape[1] >= max(length for _, length in rows):
            masks = [self._drawn((length, x.shape[2]), seed) for seed, length in rows]
            mask = mx.stack([mx.pad(mask, [(0, x.shape[1] - len(mask)), (0, 0)]) for mask in masks])
        else:
            mask = self._drawn(x.shape, *rows)
        return (mask * x) * (1 / self._p_1)

    def _drawn(self, shape: Sequence[int], *seeds: Any) -> mx.array:
        return mx.random.bernoulli(self._p_1, shape, mx.random.key(seed_of(*seeds, self._number)))

    def renew(self, rows: Sequence[tuple[int, int]], number: int) -> None:
        """(seed, tokens fed) of the next pass's rows; `number` is this one's among the model's."""
        # names with an underscore are no parameters
        self._rows, self._number, self._apart = rows, number, False

    @contextmanager
    def apart(self, row: int, part: int) -> Generator[None]:
        """Seeds of its own for each numbered piece of a row: pieces of one shape would drop the same."""
        own = self._rows
        self._rows, self._apart = [(seed_of(own[row][0], part), 0)], True
        try:
            yield
        finally:
            self._rows, self._apart = own, False


def keyed_dropouts(model: nn.Module) -> list[KeyedDropout]:
    """The model's dropout layers that drop anything, changed to draw by rows."""
    found: list[KeyedDropout] = []
    for _, module in model.named_modules():
        if isinstance(module, nn.Dropout) and module._p_1 < 1:  # pyright: ignore[reportPrivateUsage]
            module.__class__ = KeyedDropout
            found.append(module)  # type: ignore[arg-type] - it is one now
    return found


def renew(dropouts: list[KeyedDropout], batch: Batch, seed: int, step: int) -> None:
    """New masks for the next pass, which is over this batch in the step of that number."""
    if dropouts:
        rows = batch.seeds(seed, step)
        for number, module in enumerate(dropouts):
            module.renew(rows, number)
