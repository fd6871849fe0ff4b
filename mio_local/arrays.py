"""The few array functions that numpy, mlx.core and torch share, and the log-prob path written with them.

Every function here and in `losses` takes the namespace `xp` as its first argument: numpy itself through `NUMPY`, and
one small object per backend. All of them accumulate in the type they are given; backends hand over float32 logits.
"""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any, Protocol

import numpy as np

PAD_MULTIPLE = 16  # batches are as long as a multiple of it
SHAPES = 8  # padded lengths to a doubling: few distinct shapes, 4 % of padding on average, 12 % at most
ALL = 2**62  # tokens fed at a time on a GPU
CPU_TOKENS = 768  # tokens fed at a time on a CPU: more give it no speed, and cost memory
MATRIX, MATRIX_TIMES = 1536, 8  # rows of the matrices that tell a CPU's rate, and how often they are multiplied
LANES = 4  # parts of a batch worked on at a time on a CPU, at most: one for each core, with its activations

Array = Any  # numpy.ndarray, mlx.core.array or torch.Tensor


@dataclass(frozen=True)
class Scored:
    """One forward pass: the summed loss of its groups, and log pi of its answers, (A * n,) float32, chosen first."""

    loss: float
    logps: np.ndarray


class ArrayNamespace(Protocol):
    """What a loss may call. Everything else it writes with operators."""

    def exp(self, x: Array, /) -> Array: ...
    def logaddexp(self, x: Array, y: Array, /) -> Array: ...
    def logsumexp(self, x: Array, axis: int, /) -> Array: ...
    def take_along_axis(self, x: Array, indices: Array, axis: int, /) -> Array: ...
    def zeros_like(self, x: Array, /) -> Array: ...
    def stop_gradient(self, x: Array, /) -> Array: ...


def _logsumexp(x: np.ndarray, axis: int) -> np.ndarray:
    top = x.max(axis, keepdims=True)
    return (top + np.log(np.exp(x - top).sum(axis, keepdims=True))).squeeze(axis)


NUMPY: Any = SimpleNamespace(
    exp=np.exp,
    logaddexp=np.logaddexp,
    logsumexp=_logsumexp,
    take_along_axis=np.take_along_axis,
    zeros_like=np.zeros_like,
    stop_gradient=np.asarray,
)


def padded(length: int) -> int:
    """`length` rounded up to one of eight lengths per doubling, a multiple of PAD_MULTIPLE: few distinct shapes."""
    step = max(PAD_MULTIPLE, 2 ** ((length - 1).bit_length() - 1) // SHAPES) if length > 1 else PAD_MULTIPLE
    return math.ceil(length / step) * step


def softplus(xp: ArrayNamespace, x: Array) -> Array:
    """log(1 + e^x), without overflow."""
    return xp.logaddexp(xp.zeros_like(x), x)


def sigmoid(xp: ArrayNamespace, x: Array) -> Array:
    """1 / (1 + e^-x), without overflow."""
    return xp.exp(-softplus(xp, -x))


def token_logps(xp: ArrayNamespace, logits: Array, targets: Array) -> Array:
    """Log-probability of each target, nats: logits (..., vocabulary), targets (...) -> as targets."""
    return xp.take_along_axis(logits, targets[..., None], -1)[..., 0] - xp.logsumexp(logits, -1)


def sequence_logps(tokens: Array, mask: Array) -> Array:
    """Log-probability of each answer, (rows,), nats: the sum of token log-probs (T,) where `mask` (rows, T) is 1."""
    return (tokens[None] * mask).sum(-1)


def rates(flop: float, product: Callable[[], object]) -> list[float]:
    """FLOP per second of MATRIX_TIMES calls that do `flop` each, after one that is not counted."""
    product()
    found: list[float] = []
    for _ in range(MATRIX_TIMES):
        began = time.perf_counter()
        product()
        found.append(flop / (time.perf_counter() - began))
    return found
