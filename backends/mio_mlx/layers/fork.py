"""Recurrent layers on shared rows: over the prompt once, then over all answers, each from the state it left behind.

mlx-lm's layers keep what they carry from token to token in an `ArraysCache`: the last inputs of a convolution, the
state of a state space or of a delta rule. They read it before a piece of a row and write it after, so a piece goes on
where another ended, and the gradient of all answers goes back through the prompt's state.
"""

import inspect
import itertools
import re
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, ExitStack
from typing import Any

import mlx.core as mx
from mlx.utils import tree_map
from mlx_lm.models.cache import ArraysCache

from mio_local.data.collate import Spans
from mio_mlx.recompute import KeyedDropout

STATE = re.compile(r"\bcache\[\w+\] = ")  # in the source of a layer that writes one
Call = Callable[..., Any]
Placed = Callable[[mx.array], AbstractContextManager[None]]


class Fork:
    """What a recurrent layer takes for its cache, of `size` arrays; `placed` tells rotary embeddings inside of it the
    places of a piece's tokens, (tokens,)."""

    offset = 0

    def __init__(
        self, spans: Spans, length: int, size: int, streams: Sequence[mx.Stream], placed: Placed
    ) -> None:
        self._ends: list[list[int]] = spans.ends.T.tolist()
        self._length, self._size, self._streams, self._placed = length, size, streams, placed

    def make_mask(self, *_: Any, **__: Any) -> None:
        """No piece of a row has padding before its end."""

    def run(self, call: Call, args: Sequence[Any], kwargs: dict[str, Any], dropouts: Sequence[KeyedDropout]) -> Any:
        """What `call` gives of rows, whose arguments (n, L, ...) are those of shared tokens."""
        rows: list[Any] = []
        for row, ends in enumerate(self._ends):
            with mx.stream(self._streams[row % len(self._streams)]):
                rows.append(self._row(call, (list(args), kwargs), row, ends, dropouts))
        return tree_map(lambda *pieces: mx.concatenate(list(pieces)), *rows)

    def _row(self, call: Call, given: Any, row: int, ends: Sequence[int], dropouts: Sequence[KeyedDropout]) -> Any:
        state = ArraysCache(self._size)
        first = self._piece(call, given, row, [(0, ends[0])], state, dropouts)
        pieces, answers = [first], [(begin, end) for begin, end in itertools.pairwise(ends) if end > begin]
        if answers:
            state.cache = [x if x is None else mx.repeat(x, len(answers), axis=0) for x in state.cache]
            every = self._piece(call, given, row, answers, state, dropouts)
            for number, (begin, last) in enumerate(answers):
                pieces.append(tree_map(lambda x, n=number, size=last - begin: x[n : n + 1, :size], every))
        return tree_map(lambda *parts: _filled(mx.concatenate(list(parts), axis=1), self._length), *pieces)

    def _piece(
        self, call: Call, given: Any, row: int, spans: Sequence[tuple[int, int]], state: ArraysCache,
        dropouts: Sequence[KeyedDropout],
    ) -> Any:  # fmt: skip
        """`call` on these spans of a row side by side, from their state on, which it changes."""
        width, before = max(last - begin for begin, last in spans), 0
        if spans[0][0]:
            width = max(width, 2)  # of one alone, mlx-lm's layers take the kernels of generation
            before = self._ends[row][0]

        def cut(x: Any) -> Any:
            if x is self:
                return state
            if not isinstance(x, mx.array) or x.shape[:2] != (len(self._ends), self._length):
                return x
            parts = [_filled(x[row : row + 1, begin:last], width, repeat=True) for begin, last in spans]
            return mx.concatenate(parts)

        args, kwargs = given
        places = mx.tile(mx.arange(before, before + width), len(spans))
        with ExitStack() as stack:
            for dropout in dropouts:
                stack.enter_context(dropout.apart(row, int(before > 0)))
            stack.enter_context(self._placed(places))
            return call(*(cut(x) for x in args), **{name: cut(x) for name, x in kwargs.items()})


def recurrent(model: Any) -> list[Any]:
    """The layers that carry a state from token to token by themselves."""
    return [module for _, module in model.named_modules() if any(map(_writes, type(module).__mro__))]


def forking(cls: Any) -> Call:
    """The call of a recurrent layer of class `cls` that forks where its cache is one to fork."""

    def call(module: Any, *args: Any, **kwargs: Any) -> Any:
        fork = next((given for given in (*args, *kwargs.values()) if isinstance(given, Fork)), None)
        if fork is None:
            return cls.__call__(module, *args, **kwargs)
        dropouts = [m for _, m in module.named_modules() if isinstance(m, KeyedDropout) and m.training]
        return fork.run(lambda *args, **kwargs: cls.__call__(module, *args, **kwargs), args, kwargs, dropouts)

    return call


def _writes(cls: type) -> bool:
    return cls.__module__.startswith("mlx_lm.models.") and bool(STATE.search(inspect.getsource(cls)))


def _filled(x: mx.array, width: int, *, repeat: bool = False) -> mx.array:
    """(n, T, ...) with zeros to (n, width, ...), or with the last token where it is fed: of zeros, a norm has no
    gradient, and what is no number stays so however little it counts."""
    more = width - x.shape[1]
    if not more:
        return x
    if repeat:
        return mx.concatenate([x, mx.repeat(x[:, -1:], more, axis=1)], axis=1)
    return mx.pad(x, [(0, 0), (0, more), *[(0, 0)] * (x.ndim - 2)])
