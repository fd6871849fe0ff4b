"""PEFT's LoRA layers without their copies: x W^T + s (x A^T) B^T in two products that add up in place.

PEFT casts each layer's input to the adapter's float32 and keeps that copy for the backward pass; it scales and adds in
two more passes over the output. Here the factors are cast instead, and only x and x A^T are kept.
"""

from functools import partial
from typing import Any

import torch
from peft.tuners.lora.layer import LoraLayer


class _LowRank(torch.autograd.Function):
    """(T, in) to (T, out), W frozen: dx = g W + s (g B) A, dA = s (g B)^T x, dB = s g^T x A^T.

    What is rank wide is computed and kept as (rank, T): as (T, rank), the same product takes a CPU two to five times as
    long.
    """

    @staticmethod
    def forward(ctx: Any, x: Any, weight: Any, bias: Any, a: Any, b: Any, scale: float) -> torch.Tensor:
        low = a @ x.T
        ctx.save_for_backward(x, weight, a, b, low)
        ctx.scale = scale
        return torch.nn.functional.linear(x, weight, bias).addmm_(low.T, b.T, alpha=scale)

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        x, weight, a, b, low = ctx.saved_tensors
        back = (b.T @ grad.T).mul_(ctx.scale)
        dx = (grad @ weight).addmm_(back.T, a) if ctx.needs_input_grad[0] else None
        return dx, None, None, back @ x, (low @ grad).mul_(ctx.scale).T, None


def _forward(layer: Any, x: torch.Tensor, *_: Any, **__: Any) -> torch.Tensor:
    base, dropout = layer.base_layer, layer.lora_dropout["default"]
    a, b = (layer.lora_A["default"].weight.to(x.dtype), layer.lora_B["default"].weight.to(x.dtype))
    scale = layer.scaling["default"]
    if type(base) is torch.nn.Linear and isinstance(dropout, torch.nn.Identity):
        flat = x.reshape(-1, x.shape[-1])
        return _LowRank.apply(flat, base.weight, base.bias, a, b, scale).unflatten(0, x.shape[:-1])  # pyright: ignore[reportOptionalMemberAccess]
    functional = torch.nn.functional
    return base(x) + functional.linear(functional.linear(dropout(x), a), b) * scale


def lean_layers(model: torch.nn.Module) -> list[Any]:
    """The adapter's layers that can do without the copies: LoRA on linear layers, not DoRA."""
    layers = [module for module in model.modules() if isinstance(module, LoraLayer) and "default" in module.lora_A]
    return [layer for layer in layers if not layer.use_dora.get("default") and not getattr(layer, "fan_in_fan_out", 0)]


def switch(layers: list[Any], on: bool) -> None:
    """Put the lean forward pass into the layers, or PEFT's own back."""
    for layer in layers:
        if on:
            layer.forward = partial(_forward, layer)
        else:
            layer.__dict__.pop("forward", None)
