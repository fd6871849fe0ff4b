"""The shared array functions, from MLX."""

from types import SimpleNamespace
from typing import Any

import mlx.core as mx

XP: Any = SimpleNamespace(
    exp=mx.exp,
    logaddexp=mx.logaddexp,
    logsumexp=mx.logsumexp,
    take_along_axis=mx.take_along_axis,
    zeros_like=mx.zeros_like,
    stop_gradient=mx.stop_gradient,
)
