"""Gradient checkpointing for MLX blocks, without touching their classes, and dropout that survives it."""

from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any

import mlx.core as mx
import mlx.nn as nn

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
    """Dropout whose mask comes from a key that `renew` sets: a recomputed block drops what it dropped before."""

    def __call__(self, x: mx.array) -> mx.array:
        if not self.training:
            return x
        mask = mx.random.bernoulli(self._p_1, x.shape, self._key)
        return (mask * x) * (1 / self._p_1)

    def renew(self, key: mx.array) -> None:
        self._key = key  # a name with an underscore is no parameter

    @contextmanager
    def apart(self, number: int) -> Generator[None]:
        """A key of its own for each numbered piece of a pass: pieces of one shape would drop the same."""
        own = self._key
        self._key = own + mx.array([0, number + 1], mx.uint32)
        try:
            yield
        finally:
            self._key = own


def keyed_dropouts(model: nn.Module) -> list[KeyedDropout]:
    """The model's dropout layers that drop anything, changed to draw from keys."""
    found: list[KeyedDropout] = []
    for _, module in model.named_modules():
        if isinstance(module, nn.Dropout) and module._p_1 < 1:  # pyright: ignore[reportPrivateUsage]
            module.__class__ = KeyedDropout
            found.append(module)  # type: ignore[arg-type] - it is one now
    return found


def renew(dropouts: list[KeyedDropout]) -> None:
    """New masks for the next pass, from MLX's random state."""
    if dropouts:
        seed = mx.random.randint(0, 2**31 - 1, (2,)).astype(mx.uint32)
        for module, key in zip(dropouts, mx.random.split(seed, len(dropouts)), strict=True):
            module.renew(key)
