"""One row [prompt | chosen | rejected | others] through an mlx-lm model: what mixes its tokens keeps the answers apart.

mlx-lm's models take neither a mask nor positions, but all ask the cache they are given for the one, and hand its offset
to their rotary embedding. So in attention a cache that stores nothing brings the mask, and the embedding is told the
places. A recurrent layer is forked at the prompt's end.
"""

import inspect
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from typing import Any

import mlx.core as mx
from mlx_lm.models.cache import ArraysCache, CacheList, KVCache, RotatingKVCache, make_prompt_cache

from mio_local.data.collate import Spans
from mio_mlx.layers.attention import NAME, Piece, attend, pieces
from mio_mlx.layers.fork import Fork, forking, recurrent
from mio_mlx.patching import namespaces, replace_calls, replaced

ONE_OFFSET = "DynamicNTKScalingRoPE"  # sets its frequencies by the one offset that it takes
BY_COLUMN = "_get_llama_4_attn_scale"  # scales queries by where in the row they lie


class _Layout:
    """What a block takes for its cache: it brings the mask, and hands keys and values back as they are."""

    offset = 0

    def __init__(self, spans: Spans, length: int, axes: int) -> None:
        self._spans, self._length, self._axes = spans, length, axes
        self._masks: dict[int, mx.array] = {}
        self._pieces: dict[int, list[tuple[Piece, mx.array]]] = {}

    def make_mask(self, _: int, return_array: bool = False, window_size: int | None = None) -> mx.array:
        window = window_size or 0
        if window not in self._masks:
            mask = mx.array(self._spans.visible(self._length, window))
            self._masks[window] = mask.reshape(len(mask), *[1] * (self._axes - 3), self._length, self._length)
        return self._masks[window]

    def _window(self, mask: Any) -> int | None:
        return next((window for window, made in self._masks.items() if made is mask), None)

    def made(self, mask: Any) -> bool:
        """Whether the mask is one of these, and not what a block made of it."""
        return self._window(mask) is not None

    def update_and_fetch(self, keys: mx.array, values: mx.array) -> tuple[mx.array, mx.array]:
        return keys, values

    def attend(self, queries: mx.array, keys: mx.array, values: mx.array, scale: float, mask: mx.array) -> mx.array:
        """(n, heads, L, width), in the pieces that the layout has."""
        window = self._window(mask)
        assert window is not None
        out: list[mx.array] = []
        for piece, seen in self._masked_pieces(window):
            q = queries[:, :, piece.begin : piece.end]
            k, v = (_joined([x[:, :, first:last] for first, last in piece.seen]) for x in (keys, values))
            out.append(attend(q, k, v, scale, seen))
        return mx.concatenate(out, axis=2)

    def _masked_pieces(self, window: int) -> list[tuple[Piece, mx.array]]:
        """The pieces with their masks, (n, 1, T, S), which are one for all blocks of a model."""
        if window not in self._pieces:
            mask = self._masks[window].reshape(-1, 1, self._length, self._length)
            found: list[tuple[Piece, mx.array]] = []
            for piece in pieces(self._spans, self._length):
                parts = [mask[:, :, piece.begin : piece.end, first:last] for first, last in piece.seen]
                # of its own: where a mask is a part of another, MLX copies the scores that it is put to
                found.append((piece, mx.contiguous(_joined(parts, 3))))
            self._pieces[window] = found
        return self._pieces[window]


def _joined(parts: list[mx.array], axis: int = 2) -> mx.array:
    return parts[0] if len(parts) == 1 else mx.concatenate(parts, axis=axis)


def _piecewise(own: Any) -> Callable[..., mx.array]:
    """Attention in pieces for a cache that is a layout; mlx-lm's `own` for another, for attention sinks, and for scores
    that a block adds, which it has masked itself."""

    def attend(
        queries: mx.array, keys: mx.array, values: mx.array, cache: Any, scale: float, mask: Any, sinks: Any = None
    ) -> mx.array:
        if not isinstance(cache, _Layout) or sinks is not None or not cache.made(mask):
            return own(queries, keys, values, cache=cache, scale=scale, mask=mask, sinks=sinks)
        return cache.attend(queries, keys, values, scale, mask)

    return attend


class SharedPrompt:
    """Gives a model's blocks masks and places while a batch of shared rows goes through it, backward pass included."""

    def __init__(self, model: Any) -> None:
        self.caches = make_prompt_cache(model)
        self.modules = namespaces(model, NAME)
        self.by_column = namespaces(model, BY_COLUMN)
        self.places: mx.array | None = None
        kinds = {type(cache) for cache in _flat(self.caches)}
        others = {kind.__name__ for kind in kinds - {KVCache, RotatingKVCache, ArraysCache}}
        ropes = [module for _, module in model.named_modules() if _is_rope(module)]
        layers = recurrent(model)
        attends = kinds != {ArraysCache}
        # a block that computes its scores itself puts a mask to them in its own way: only Gemma 2's is known
        self.axes = 4 if self.modules else 5
        if attends and not self.modules and getattr(model, "model_type", "") != "gemma2":
            others.add("attention of its own")
        if ArraysCache in kinds and not layers:
            others.add("a recurrence of its own")
        others |= {ONE_OFFSET} & {type(module).__name__ for module in ropes}
        self.refusal = f"its blocks have {min(others)}" if others else ""
        if not self.refusal and not ropes and not layers:
            self.refusal = "no rotary positions were found"
        if self.refusal:
            return
        replace_calls(ropes, self._call)
        replace_calls(layers, forking)

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
        layout = _Layout(spans, length, self.axes)

        def cache(own: Any) -> Any:
            if isinstance(own, CacheList):
                return [cache(one) for one in own.caches]
            recurrent = isinstance(own, ArraysCache)
            return Fork(spans, length, len(own.cache), streams, self._placed) if recurrent else layout

        with (
            self._placed(mx.array(spans.places(length).ravel())),
            replaced(self.modules, NAME, _piecewise),
            replaced(self.by_column, BY_COLUMN, self._scale),
        ):
            yield [cache(own) for own in self.caches]

    @contextmanager
    def _placed(self, places: mx.array) -> Generator[None]:
        """Rotary embeddings see these places, (tokens,)."""
        own, self.places = self.places, places
        try:
            yield
        finally:
            self.places = own

    def _scale(self, own: Any) -> Callable[..., mx.array]:
        """Factors of the queries, every token being a row of its own: (n, 1, L, 1)."""

        def scale(size: int, _: Any, beta: float, longest: int) -> mx.array:
            assert self.places is not None
            return own(1, self.places, beta, longest).reshape(-1, 1, size, 1)

        return scale


def _flat(caches: Sequence[Any]) -> list[Any]:
    return [one for cache in caches for one in (_flat(cache.caches) if isinstance(cache, CacheList) else [cache])]


def _is_rope(module: Any) -> bool:
    """Whether a module turns what it is given by its place."""
    _, *parameters = inspect.signature(type(module).__call__).parameters
    return parameters[:2] == ["x", "offset"]
