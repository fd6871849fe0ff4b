"""One row [prompt | chosen | rejected] through an mlx-lm model: a mask keeps the answers apart.

mlx-lm's models take neither a mask nor positions, but all ask the cache they are given for the one, and hand its offset
to their rotary embedding. So a cache that stores nothing brings the mask, and the embedding is told the places.
"""

from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from typing import Any

import mlx.core as mx
import mlx.nn as nn
from mlx_lm.models import rope_utils
from mlx_lm.models.cache import KVCache, RotatingKVCache, make_prompt_cache

from mio_local.data.collate import Spans
from mio_mlx.cpu_microbatches import on_cpu
from mio_mlx.layers.attention import NAME, causal
from mio_mlx.patching import namespaces, replace_calls, replaced

SCALED = [kind for name, kind in vars(rope_utils).items() if isinstance(kind, type) and name.endswith("RoPE")]
ROPES = (nn.RoPE, *SCALED)
ONE_OFFSET = "DynamicNTKScalingRoPE"  # sets its frequencies by the one offset that it takes
BY_COLUMN = {"mlx_lm.models.ministral3", "mlx_lm.models.mistral4"}  # scale queries by where in the row they lie


class _Layout:
    """What a block takes for its cache: it brings the mask, and hands keys and values back as they are."""

    offset = 0

    def __init__(self, spans: Spans, length: int, axes: int, streams: Sequence[mx.Stream]) -> None:
        self._spans, self._length, self._axes = spans, length, axes
        self._streams = streams
        self._masks: dict[int, mx.array] = {}

    def make_mask(self, _: int, return_array: bool = False, window_size: int | None = None) -> mx.array:
        window = window_size or 0
        if window not in self._masks:
            mask = mx.array(self._spans.visible(self._length, window))
            self._masks[window] = mask.reshape(len(mask), *[1] * (self._axes - 3), self._length, self._length)
        return self._masks[window]

    def update_and_fetch(self, keys: mx.array, values: mx.array) -> tuple[mx.array, mx.array]:
        return keys, values

    def attend(self, queries: mx.array, keys: mx.array, values: mx.array, scale: float, mask: mx.array) -> mx.array:
        """(n, heads, L, width): each row in its two pieces, nothing where it is padding."""
        window = next(window for window, made in self._masks.items() if made is mask)
        fused = not on_cpu()
        rows: list[mx.array] = []
        for row, ends in enumerate(zip(*self._spans.ends, strict=True)):
            prompt, chosen, end = (int(at) for at in ends)
            with mx.stream(self._streams[row % len(self._streams)]):
                q, k, v = queries[row : row + 1], keys[row : row + 1], values[row : row + 1]
                first = causal(q[:, :, :chosen], k[:, :, :chosen], v[:, :, :chosen], scale, window, fused=fused)
                pieces = [first]
                if end > chosen:
                    k, v = (mx.concatenate([x[:, :, :prompt], x[:, :, chosen:end]], axis=2) for x in (k, v))
                    pieces.append(causal(q[:, :, chosen:end], k, v, scale, window, fused=fused))
                filled = [(0, 0), (0, 0), (0, self._length - end), (0, 0)]
                rows.append(mx.pad(mx.concatenate(pieces, axis=2), filled))
        return mx.concatenate(rows)


def _piecewise(own: Any) -> Callable[..., mx.array]:
    """Attention in pieces for a cache that is a layout; mlx-lm's `own` for another, and for attention sinks."""

    def attend(
        queries: mx.array, keys: mx.array, values: mx.array, cache: Any, scale: float, mask: Any, sinks: Any = None
    ) -> mx.array:
        if not isinstance(cache, _Layout) or sinks is not None:
            return own(queries, keys, values, cache=cache, scale=scale, mask=mask, sinks=sinks)
        return cache.attend(queries, keys, values, scale, mask)

    return attend


class SharedPrompt:
    """Gives a model's blocks masks and places while a batch of shared rows goes through it, backward pass included."""

    def __init__(self, model: Any) -> None:
        self.blocks = len(model.layers)
        self.modules = namespaces(model, NAME)
        self.places: mx.array | None = None
        plain = {KVCache.__name__, RotatingKVCache.__name__}
        others = {type(cache).__name__ for cache in make_prompt_cache(model)} - plain
        ropes = [module for _, module in model.named_modules() if isinstance(module, ROPES)]
        # a block that computes its scores itself puts a mask to them in its own way: only Gemma 2's is known
        self.axes = 4 if self.modules else 5
        if not self.modules and getattr(model, "model_type", "") != "gemma2":
            others.add("attention of its own")
        others |= {ONE_OFFSET} & {type(module).__name__ for module in ropes}
        if BY_COLUMN & {type(module).__module__ for _, module in model.named_modules()}:
            others.add("queries scaled by column")
        self.refusal = f"its blocks have {min(others)}" if others else "" if ropes else "no rotary positions were found"
        if self.refusal:
            return
        replace_calls(ropes, self._call)

    def _call(self, cls: Any) -> Callable[..., Any]:
        """The rotary embedding `cls`, every token being a row of its own with its own offset."""
        switch = self

        def call(module: Any, x: mx.array, offset: Any = 0) -> mx.array:
            if switch.places is None:
                return cls.__call__(module, x, offset=offset)
            rows, heads, length, width = x.shape
            tokens = x.transpose(0, 2, 1, 3).reshape(rows * length, heads, 1, width)
            turned = cls.__call__(module, tokens, offset=switch.places)
            return turned.reshape(rows, length, heads, width).transpose(0, 2, 1, 3)

        return call

    @contextmanager
    def layout(
        self, spans: Spans | None, length: int, streams: Sequence[mx.Stream]
    ) -> Generator[list[Any] | None]:
        """The caches to pass in; open until the graph is laid out, its backward pass included."""
        if spans is None:
            yield None
            return
        self.places = mx.array(spans.places(length).ravel())
        try:
            with replaced(self.modules, NAME, _piecewise):
                yield [_Layout(spans, length, self.axes, streams)] * self.blocks
        finally:
            self.places = None
