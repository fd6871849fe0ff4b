"""Shared rows [prompt | chosen | rejected | others] as the A * n rows [prompt | answer] that they stand for."""

from typing import Any

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
    """The layout of one batch, on the device."""

    def __init__(self, spans: Spans, length: int, device: torch.device) -> None:
        index, own, again = spans.rows(length)
        self.shape = index.shape
        self.fed = (len(spans.prompt), length)
        self.index, self.own = (torch.from_numpy(i.ravel()).to(device) for i in (index, own))
        self.again = torch.from_numpy(again.reshape(len(again), -1)).to(device)
        self.places = torch.from_numpy(spans.places(length)).long().to(device)

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
