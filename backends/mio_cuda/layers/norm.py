"""RMS norms as one operation each way: x / sqrt(mean(x^2) + eps) times a weight (Zhang and Sennrich, arXiv 1910.07467).

transformers writes them as eight operations, and PyTorch's derivative takes fourteen; each goes over all hidden states.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch

PROBE = 4  # hidden states by which a module is told apart from others
EXACT = 1e-6  # how far it may be from the formula there, in float32
OWN = torch.library.Library("mio_local", "FRAGMENT")  # as an operation of ours, it is one where operations are counted
OWN.define("rms_norm(Tensor x, Tensor weight, float eps) -> (Tensor, Tensor)")
OWN.define("rms_norm_backward(Tensor grad, Tensor x, Tensor weight, Tensor inverse) -> Tensor")


@torch.library.impl(OWN, "rms_norm", "CompositeExplicitAutograd")
def _forward(x: torch.Tensor, weight: torch.Tensor, eps: float) -> tuple[torch.Tensor, torch.Tensor]:
    """y = r x w, and r = 1 / sqrt(mean(x^2) + eps) in float32."""
    wide = x.float()
    inverse = wide.square().mean(-1, keepdim=True).add_(eps).rsqrt_()
    return (wide * inverse).mul_(weight).to(x.dtype), inverse


@torch.library.impl(OWN, "rms_norm_backward", "CompositeExplicitAutograd")
def _backward(grad: torch.Tensor, x: torch.Tensor, weight: torch.Tensor, inverse: torch.Tensor) -> torch.Tensor:
    """dx = r h - x r^3 mean(h x), with h = g w."""
    wide, dx = x.float(), grad.float() * weight
    along = (dx * wide).mean(-1, keepdim=True).mul_(inverse.pow(3))
    return dx.mul_(inverse).addcmul_(wide, along, value=-1).to(x.dtype)


@torch.library.impl(OWN, "rms_norm", "CUDA")
def _forward_kernel(x: torch.Tensor, weight: torch.Tensor, eps: float) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.ops.aten._fused_rms_norm(x, [x.shape[-1]], weight, eps)


@torch.library.impl(OWN, "rms_norm_backward", "CUDA")
def _backward_kernel(grad: torch.Tensor, x: torch.Tensor, weight: torch.Tensor, inverse: torch.Tensor) -> torch.Tensor:
    ask = [True, False]
    dx, _ = torch.ops.aten._fused_rms_norm_backward(grad.contiguous(), x, [x.shape[-1]], inverse, weight, ask)
    return dx


class _RmsNorm(torch.autograd.Function):
    """(..., width) to the same; the weight is frozen."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, weight: torch.Tensor, eps: float) -> torch.Tensor:
        y, inverse = torch.ops.mio_local.rms_norm(x, weight, eps)
        ctx.save_for_backward(x, weight, inverse)
        return y

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        return torch.ops.mio_local.rms_norm_backward(grad, *ctx.saved_tensors), None, None


def norms(model: torch.nn.Module) -> list[tuple[torch.nn.Module, Callable[[torch.Tensor], torch.Tensor]]]:
    """The norms of a model, and the forward pass that each can have instead."""
    found: list[tuple[torch.nn.Module, Callable[[torch.Tensor], torch.Tensor]]] = []
    known: dict[tuple[type, bool], float | None] = {}
    for module in model.modules():
        if "RMSNorm" not in type(module).__name__:
            continue
        kind = type(module), hasattr(module, "weight")
        if kind not in known:
            known[kind] = _offset(module)
        if (offset := known[kind]) is not None:
            found.append((module, _replacement(module, offset)))
    return found


def _replacement(module: Any, offset: float) -> Callable[[torch.Tensor], torch.Tensor]:
    eps = _eps(module)

    def forward(x: torch.Tensor) -> torch.Tensor:
        weight = module.weight + offset if offset else module.weight
        return _RmsNorm.apply(x, weight.to(x.dtype), eps)  # type: ignore[return-value]

    return forward


def _eps(module: Any) -> float:
    return float(getattr(module, "variance_epsilon", getattr(module, "eps", 0.0)))


def _offset(module: Any) -> float | None:
    """What is added to the weight, 0 or as in Gemma 1, of a module that computes the formula; None for another."""
    weight = getattr(module, "weight", None)
    if not isinstance(weight, torch.Tensor) or weight.ndim != 1 or not _eps(module):
        return None
    if len(list(module.parameters())) != 1:
        return None
    width = len(weight)
    with torch.device("cpu"), torch.no_grad():
        generator = torch.Generator().manual_seed(0)
        x, given = (torch.randn(rows, width, generator=generator) for rows in (PROBE, 1))
        try:
            out = torch.func.functional_call(module, {"weight": given[0]}, (x,))
        except Exception:  # whatever it needs beside its input
            return None
    scaled = x * (x.square().mean(-1, keepdim=True) + _eps(module)).rsqrt()
    for offset in (0.0, 1.0):
        if _alike(out, scaled * (given + offset)):
            return offset
    return None


def _alike(found: Any, expected: torch.Tensor) -> bool:
    return isinstance(found, torch.Tensor) and np.allclose(found.numpy(), expected.numpy(), atol=EXACT, rtol=EXACT)
