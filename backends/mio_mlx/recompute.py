"""Gradient checkpointing for MLX blocks, without touching their classes."""

from typing import Any

import mlx.core as mx
import mlx.nn as nn


class Recompute:
    """Makes each block of `layers` forget its activations while `on`, and recompute them in the backward pass.

    mlx-lm patches a class's `__call__` for good and misses a hybrid model's other block classes; here every block gets
    a subclass of its own class. Off during generation: a block that fills a key-value cache must not run twice.
    """

    def __init__(self, layers: list[nn.Module]) -> None:
        self.on = False
        subclasses: dict[type, type] = {}
        for layer in layers:
            cls = type(layer)
            if cls not in subclasses:
                subclasses[cls] = self._subclass(cls)
            layer.__class__ = subclasses[cls]

    def _subclass(self, cls: Any) -> type:
        switch = self

        def call(module: Any, *args: Any, **kwargs: Any) -> Any:
            if not switch.on:
                return cls.__call__(module, *args, **kwargs)

            def inner(parameters: Any, *args: Any, **kwargs: Any) -> Any:
                module.update(parameters)
                return cls.__call__(module, *args, **kwargs)

            return mx.checkpoint(inner)(module.trainable_parameters(), *args, **kwargs)

        return type(cls.__name__, (cls,), {"__call__": call})
