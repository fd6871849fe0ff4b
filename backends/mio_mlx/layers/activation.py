"""Exponentials on a CPU, where MLX's own take 31 ns each, its power 19 (Linux, mlx 0.32.4, 2026-11-21), a product 1.

SwiGLU is computed with one for forward and backward pass together: mlx-lm's takes a second one for the gradient.
"""

import math
from typing import Any

import mlx.core as mx
from mlx_lm.models import activations

from mio_mlx.cpu_microbatches import on_cpu
from mio_mlx.patching import namespaces

COLUMNS = 128  # numbers that are added up at a time; vocabularies are multiples of it
NAME = "swiglu"  # as mlx-lm's models import it


def exp(x: mx.array) -> mx.array:
    """e^x; where a power stands for it, its relative error is up to 3e-8 |x| more: float32 has no better e."""
    return mx.power(mx.array(math.e), x) if on_cpu() and x.dtype == mx.float32 else mx.exp(x)


def total(x: mx.array) -> mx.array:
    """The sum of each row, (T, 1); on a CPU column by column, as MLX's own takes three times as long there."""
    rows, wide = x.shape
    if not on_cpu() or wide % COLUMNS:
        return x.sum(-1, keepdims=True)
    return x.reshape(rows, COLUMNS, -1).sum(1).sum(-1, keepdims=True)


def places(model: Any) -> list[Any]:
    """The Python modules of a model's blocks where `swiglu` is worth replacing, and is mlx-lm's."""
    found = namespaces(model, NAME) if on_cpu() else []
    return [place for place in found if getattr(place, NAME) is activations.swiglu]


def _swiglu(gate: mx.array, x: mx.array) -> tuple[mx.array, mx.array]:
    """gate sigmoid(gate) x, and the sigmoid."""
    sigmoid = 1 / (1 + exp(-gate))
    return gate * sigmoid * x, sigmoid


def _swiglu_vjp(primals: Any, cotangents: Any, outputs: Any) -> tuple[mx.array, mx.array]:
    gate, x = primals
    silu = gate * outputs[1]
    # d silu / d gate = sigmoid + silu (1 - sigmoid)
    return cotangents[0] * x * (outputs[1] + silu * (1 - outputs[1])), cotangents[0] * silu


_kept: Any = mx.custom_function(_swiglu)
_kept.vjp(_swiglu_vjp)


def swiglu(gate: mx.array, x: mx.array) -> mx.array:
    """mlx-lm's `swiglu`."""
    return _kept(gate, x)[0]
