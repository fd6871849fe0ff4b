"""PEFT's LoRA layers without their copies: x W^T + s (x A^T) B^T in two products that add up in place.

PEFT casts each layer's input to the adapter's float32 and keeps that copy for the backward pass; it scales and adds in
two more passes over the output. Here the factors are in the model's type instead, copied once a pass of the model, and
only x and x A^T are kept.
"""

from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from peft.tuners.lora.layer import LoraLayer

from mio_cuda.xp import copy_all


class _LowRank(torch.autograd.Function):
    """(T, in) to (T, out), W frozen: dx = g W + s (g B) A, dA = s (g B)^T x, dB = s g^T x A^T.

    What is rank wide is computed and kept as (rank, T): as (T, rank), the same product takes a CPU two to five times as
    long. `dense` gives W each way: one of 4 bits is unpacked for it, as bitsandbytes does, and not kept.
    """

    @staticmethod
    def forward(ctx: Any, x: Any, dense: Any, bias: Any, a: Any, b: Any, scale: float) -> torch.Tensor:
        low = a @ x.T
        ctx.save_for_backward(x, a, b, low)
        ctx.dense, ctx.scale = dense, scale
        return torch.nn.functional.linear(x, dense(), bias).addmm_(low.T, b.T, alpha=scale)

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        x, a, b, low = ctx.saved_tensors
        back = (b.T @ grad.T).mul_(ctx.scale)
        dx = (grad @ ctx.dense()).addmm_(back.T, a) if ctx.needs_input_grad[0] else None
        return dx, None, None, back @ x, (low @ grad).mul_(ctx.scale).T, None


def _forward(layer: Any, factors: "Factors", x: torch.Tensor, *_: Any, **__: Any) -> torch.Tensor:
    base, dropout = layer.base_layer, layer.lora_dropout["default"]
    a, b = (factors.of(layer, name, x.dtype) for name in ("lora_A", "lora_B"))
    scale = layer.scaling["default"]
    dense = _dense(base, x.dtype)
    if dense and isinstance(dropout, torch.nn.Identity):
        flat = x.reshape(-1, x.shape[-1])
        return _LowRank.apply(flat, dense, base.bias, a, b, scale).unflatten(0, x.shape[:-1])  # pyright: ignore[reportOptionalMemberAccess]
    functional = torch.nn.functional
    return base(x) + functional.linear(functional.linear(dropout(x), a), b) * scale


def _dense(base: Any, dtype: torch.dtype) -> Callable[[], torch.Tensor] | None:
    """What gives the matrix that a layer multiplies by; None for a kind that has none of its own."""
    if type(base) is torch.nn.Linear:
        return lambda: base.weight
    quantised = type(base.weight).__name__ == "Params4bit" and base.weight.quant_state is not None
    if not quantised or base.compute_dtype != dtype or (base.bias is not None and base.bias.dtype != dtype):
        return None
    from bitsandbytes.functional import dequantize_4bit

    return lambda: dequantize_4bit(base.weight.data, base.weight.quant_state).to(dtype)


def lean_layers(model: torch.nn.Module) -> list[Any]:
    """The adapter's layers that can do without the copies: LoRA on linear layers, not DoRA."""
    layers = [module for module in model.modules() if isinstance(module, LoraLayer) and "default" in module.lora_A]
    return [layer for layer in layers if not layer.use_dora.get("default") and not getattr(layer, "fan_in_fan_out", 0)]


class Factors:
    """What lean layers multiply by: the parameters themselves, or where a model computes in 16 bits a copy of each.

    A copy is a leaf of its own, by which gradients are taken: a cast in every layer would be a fifth of a block's
    kernels (18 of 69 forward, counted on PyTorch's meta device).
    """

    def __init__(self, layers: Sequence[Any], parameters: Mapping[str, torch.nn.Parameter], dtype: torch.dtype) -> None:
        self._layers, self._parameters = layers, list(parameters.values())
        mine = {id(getattr(layer, name)["default"].weight) for layer in layers for name in ("lora_A", "lora_B")}
        self._copies = {
            id(one): one.detach().to(dtype).requires_grad_()
            for one in self._parameters if id(one) in mine and one.dtype != dtype
        }  # fmt: skip
        self._on = False

    def switch(self, *, on: bool) -> None:
        """Put the lean forward pass into the layers, or PEFT's own back."""
        self._on = on
        for layer in self._layers:
            if on:
                layer.forward = partial(_forward, layer, self)
            else:
                layer.__dict__.pop("forward", None)

    @property
    def leaves(self) -> list[torch.Tensor]:
        """What gradients are taken by, in the parameters' order."""
        return [self._copies.get(id(one), one) if self._on else one for one in self._parameters]

    def of(self, layer: Any, name: str, dtype: torch.dtype) -> torch.Tensor:
        """A layer's factor for an input of that type."""
        parameter: torch.Tensor = getattr(layer, name)["default"].weight
        copy = self._copies.get(id(parameter))
        return (parameter if copy is None else copy).to(dtype)

    def renew(self) -> None:
        """Take over the parameters' values, which are those of another adapter now or after a step."""
        if self._on and self._copies:
            of = [one for one in self._parameters if id(one) in self._copies]
            with torch.no_grad():
                copy_all([self._copies[id(one)] for one in of], of)

    @contextmanager
    def holding(self, values: Sequence[torch.Tensor] | None) -> Generator[None]:
        """The parameters with these values, in their order, for a moment; None for their own."""
        own = [parameter.data for parameter in self._parameters]
        try:
            for parameter, value in zip(self._parameters, values or own, strict=True):
                parameter.data = value
            self.renew()
            yield
        finally:
            if values:
                for parameter, value in zip(self._parameters, own, strict=True):
                    parameter.data = value
                self.renew()
