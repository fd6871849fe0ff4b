"""Shared rows [prompt | chosen | rejected | others] as the A * n rows [prompt | answer] that they stand for."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from mio_local.data.collate import Spans


class _Rows(torch.autograd.Function):
    """Shared tokens to rows: (n * L, ...) to (A * n * m, ...). A prompt's gradient is that of all its copies."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, rows: "Rows") -> torch.Tensor:
        ctx.rows = rows
        return x.index_select(0, rows.index)

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        # look-ups, as adding at an index is in no fixed order on a GPU
        found = grad.index_select(0, ctx.rows.own)
        for again in ctx.rows.again:
            found.add_(grad.index_select(0, again))
        return found, None


class _Shared(torch.autograd.Function):
    """Rows to shared tokens: (A * n * m, ...) to (n * L, ...); what a prompt's further copies give is dropped."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, rows: "Rows") -> torch.Tensor:
        ctx.rows, ctx.size = rows, len(x)
        return x.index_select(0, rows.own)

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        return grad.new_zeros((ctx.size, *grad.shape[1:])).index_copy_(0, ctx.rows.own, grad), None


class Rows:
    """The layout of one batch of rows of that length, its `indices` being on the device."""

    def __init__(self, spans: Spans, length: int, placed: Sequence[torch.Tensor]) -> None:
        index, self.own, self.again, self.places = placed
        self.shape, self.fed = tuple(index.shape), (len(spans.prompt), length)
        self.index = index.flatten()

    @staticmethod
    def indices(spans: Spans, length: int) -> list[np.ndarray]:
        """Where the tokens of rows are among the shared ones, where those are in rows, where prompts are again, and
        positions; int64."""
        index, own, again = spans.rows(length)
        return [index, own.ravel(), again.reshape(len(again), -1), spans.places(length).astype(np.int64)]

    def spread(self, x: torch.Tensor) -> torch.Tensor:
        """(n, L, ...) to (A * n, m, ...)."""
        return _Rows.apply(x.flatten(0, 1), self).unflatten(0, self.shape)  # pyright: ignore[reportOptionalMemberAccess]

    def gather(self, x: torch.Tensor) -> torch.Tensor:
        """(A * n, m, ...) to (n, L, ...)."""
        return _Shared.apply(x.flatten(0, 1), self).unflatten(0, self.fed)  # pyright: ignore[reportOptionalMemberAccess]

    def spread_all(self, given: Any) -> Any:
        """What is of shape (n, L, ...) in tuples, lists and dicts, spread; the rest as it is."""
        return _mapped(given, self.fed, self.spread)

    def gather_all(self, given: Any) -> Any:
        """What is of shape (A * n, m, ...) in tuples, lists and dicts, gathered; the rest as it is."""
        return _mapped(given, self.shape, self.gather)


def _mapped(given: Any, shape: tuple[int, ...], change: Any) -> Any:
    if isinstance(given, torch.Tensor):
        return change(given) if given.shape[:2] == shape else given
    if isinstance(given, dict):
        return {key: _mapped(value, shape, change) for key, value in given.items()}
    if type(given) in (tuple, list):
        return type(given)(_mapped(value, shape, change) for value in given)
    return given
