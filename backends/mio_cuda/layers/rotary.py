"""Rotary embeddings in three operations each way: x cos + roll(x) s, where s = (-sin, sin) by halves (RoFormer, arXiv
2104.09864, as Llama has it).

transformers turns each half, puts them together, multiplies twice and adds; PyTorch's derivative takes as much again.
"""

import inspect
import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch

NAME = "apply_rotary_pos_emb"  # as transformers' models have it
FIRST = ["q", "k", "cos", "sin"]
EXACT = 1e-6

Turn = Callable[..., tuple[torch.Tensor, torch.Tensor]]


class _Rotated(torch.autograd.Function):
    """(..., width), turned by cosines and sines that broadcast to it; back by those with the sines' halves changed."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, cos: torch.Tensor, ahead: torch.Tensor, back: torch.Tensor) -> torch.Tensor:
        ctx.save_for_backward(cos, back)
        return (x * cos).addcmul_(x.roll(x.shape[-1] // 2, -1), ahead)

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        cos, back = ctx.saved_tensors
        return (grad * cos).addcmul_(grad.roll(grad.shape[-1] // 2, -1), back), None, None, None


def rotated(
    q: torch.Tensor, k: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor, unsqueeze_dim: int = 1
) -> tuple[torch.Tensor, torch.Tensor]:
    """`apply_rotary_pos_emb` of transformers' models."""
    ahead, back = _signed(sin)
    cos, ahead, back = (one.unsqueeze(unsqueeze_dim) for one in (cos, ahead, back))
    return tuple(_Rotated.apply(x, cos, ahead, back) for x in (q, k))  # type: ignore[return-value]


def _signed(sin: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """(-sin, sin) and (sin, -sin) by halves, the second of the other half: made once for all blocks of a pass, which
    get the same tensor."""
    if (known := getattr(sin, "mio_signed", None)) is not None:
        return known
    first, second = sin.chunk(2, -1)
    found = torch.cat([-first, second], -1), torch.cat([second, -first], -1)
    sin.mio_signed = found  # type: ignore[attr-defined]
    return found


def rotating(model: torch.nn.Module) -> list[Any]:
    """The Python modules of a model's parts whose rotary embedding is this one."""
    places = {type(module).__module__ for module in model.modules()}
    found = [sys.modules[place] for place in sorted(places) if hasattr(sys.modules.get(place), NAME)]
    return [place for place in found if _is_known(getattr(place, NAME))]


@contextmanager
def turning(places: list[Any]) -> Generator[None]:
    """In these Python modules, rotary embeddings by three operations."""
    own = [getattr(place, NAME) for place in places]
    for place, function in zip(places, own, strict=True):
        setattr(place, NAME, _shorter(function))
    try:
        yield
    finally:
        for place, function in zip(places, own, strict=True):
            setattr(place, NAME, function)


def _shorter(own: Turn) -> Turn:
    """`rotated`, and a model's own function where it turns a part of the width."""

    def turn(q: torch.Tensor, k: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor, *rest: Any, **named: Any) -> Any:
        whole = q.shape[-1] == k.shape[-1] == cos.shape[-1]
        return (rotated if whole else own)(q, k, cos, sin, *rest, **named)

    return turn


def _is_known(function: Turn) -> bool:
    if list(inspect.signature(function).parameters) not in (FIRST, [*FIRST, "unsqueeze_dim"]):
        return False
    with torch.device("cpu"):
        generator = torch.Generator().manual_seed(0)
        q, k = (torch.randn(2, heads, 3, 8, generator=generator) for heads in (4, 2))
        cos, sin = (torch.randn(2, 3, 8, generator=generator) for _ in range(2))
        try:
            pairs = zip(function(q, k, cos, sin), rotated(q, k, cos, sin), strict=True)
            return all(np.allclose(one.numpy(), other.numpy(), atol=EXACT, rtol=EXACT) for one, other in pairs)
        except Exception:  # whatever else it needs
            return False
