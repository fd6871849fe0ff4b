"""The kernels of mlx-lm's models, none of which has a gradient, and what a differentiated pass takes in their stead.

mlx-lm takes them unless a module is in training mode, which would switch dropout and other things of the base on.
"""

import sys
from collections.abc import Callable, Generator
from contextlib import ExitStack, contextmanager
from typing import Any

import mlx.core as mx

from mio_mlx.layers.gated_delta import chunked
from mio_mlx.layers.wkv import wkv7
from mio_mlx.patching import replaced


@contextmanager
def differentiable() -> Generator[None]:
    """In mlx-lm's models that are loaded, ways with a gradient."""
    with ExitStack() as stack:
        for (place, name), other in INSTEAD.items():
            module, _, kind = place.partition(".")
            if (found := sys.modules.get(f"mlx_lm.models.{module}")) is not None:
                where = getattr(found, kind) if kind else found
                stack.enter_context(replaced([where], name, lambda _, other=other: other))
        yield


def _one_token(
    hidden_states: mx.array, a_log: mx.array, b: mx.array, c: mx.array, d: mx.array, dt: mx.array, dt_bias: mx.array,
    state: mx.array, time_step_limit: tuple[float, float],
) -> tuple[mx.array, mx.array]:  # fmt: skip
    from mlx_lm.models.ssm import ssm_attn

    return ssm_attn(hidden_states, a_log, b, c, d, dt, dt_bias, state, time_step_limit)


def _ternary(layer: Any, x: mx.array, packed: mx.array) -> mx.array:
    """BitNet's x W' s for weights -1, 0 and 1, four of them in a byte: row i + n * rows / 4 of W in bits 2n of row i.
    They are unpacked for the gradient again, as unpacked they take eight times the memory."""

    def weight() -> mx.array:
        parts = [((packed >> (2 * n)) & 3).astype(x.dtype) - 1 for n in range(4)]
        scale = layer.weight_scale.astype(x.dtype)
        whole = mx.concatenate(parts)[: layer.out_features]
        return whole / scale if layer.invert_weight_scales else whole * scale

    product: Any = mx.custom_function(lambda x: x @ weight().T)
    product.vjp(lambda _, cotangent, __: cotangent @ weight())
    return product(x)


INSTEAD: dict[tuple[str, str], Callable[..., Any] | None] = {
    ("gated_delta", "gated_delta_ops"): chunked,  # one of which mlx-lm's layers end in
    ("gated_delta", "gated_delta_kernel"): chunked,
    ("rwkv7.Rwkv7TimeMixing", "_wkv7"): wkv7,
    ("ssm", "ssm_update_kernel"): _one_token,
    ("bitlinear_layers.BitLinear", "execute_matmul_kernel"): _ternary,
    ("kimi_k3", "_attn_res_kernel"): None,  # as where there is no Metal: their operations
    ("deepseek_v41", "_sinkhorn_kernel"): None,
}
