"""The losses on each array library: values and gradients as float64 numpy, and what to expect of their precision."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

from mio_local.arrays import NUMPY
from mio_local.objectives.losses import Objective, PairLogps

Fields = Sequence[np.ndarray]  # in PairLogps's order
Graded = tuple[np.ndarray, np.ndarray, np.ndarray]  # per pair: value, d/d chosen, d/d rejected

SPACES = ("numpy", "mlx", "torch")
STEP = 1e-5  # of the central differences: truncation error about STEP^2, rounding about 1e-16 |loss| / STEP


def namespace(space: str) -> tuple[Any, Callable[[Any], Any]]:
    """The array namespace called `space`, and its float32 (numpy: float64; integers kept) array constructor."""
    if space == "numpy":
        return NUMPY, lambda x: np.asarray(x, None if np.asarray(x).dtype.kind == "i" else np.float64)
    if space == "mlx":
        mx = pytest.importorskip("mlx.core")
        from mio_mlx.xp import XP

        mx.set_default_device(mx.cpu)
        return XP, lambda x: mx.array(x) if np.asarray(x).dtype.kind == "i" else mx.array(np.asarray(x, np.float32))
    torch = pytest.importorskip("torch")
    from mio_cuda.xp import XP

    return XP, lambda x: torch.tensor(np.asarray(x, None if np.asarray(x).dtype.kind == "i" else np.float32))


def grade(space: str, objective: Objective, fields: Fields) -> Graded:
    """Value and gradient of each pair's loss: by autograd, on numpy by central differences."""
    xp, array = namespace(space)
    if space == "numpy":
        return _differences(objective, [np.asarray(field, np.float64) for field in fields])
    arrays = [array(field) for field in fields]
    values = objective(xp, PairLogps(*arrays))
    if space == "mlx":
        import mlx.core as mx

        def total(chosen: Any, rejected: Any) -> Any:
            return objective(xp, PairLogps(chosen, rejected, *arrays[2:])).sum()

        gradients = mx.grad(total, argnums=(0, 1))(*arrays[:2])
    else:
        import torch

        leaves = [a.requires_grad_() for a in arrays[:2]]
        total = objective(xp, PairLogps(*leaves, *arrays[2:])).sum()
        gradients = torch.autograd.grad(total, leaves, allow_unused=True, materialize_grads=True)
        values = values.detach()
    value, chosen, rejected = (np.array(x).astype(np.float64) for x in (values, *gradients))
    return value, chosen, rejected


def _differences(objective: Objective, fields: list[np.ndarray]) -> Graded:
    def at(index: int, step: float) -> np.ndarray:
        moved = [field + step if i == index else field for i, field in enumerate(fields)]
        return objective(NUMPY, PairLogps(*moved))

    # each pair's loss depends on that pair alone, so all pairs are moved at once
    chosen, rejected = ((at(i, STEP) - at(i, -STEP)) / (2 * STEP) for i in (0, 1))
    return at(0, 0.0), chosen, rejected


def from_ratios(a: Any, d: Any, tokens: tuple[Any, Any] = (1.0, 1.0)) -> list[np.ndarray]:
    """Fields of pairs whose log-ratios are a and d; the reference's own log-probs are -3 and -4."""
    a, d = np.atleast_1d(np.asarray(a, np.float64)), np.atleast_1d(np.asarray(d, np.float64))
    ones = np.ones(np.broadcast(a, d).shape)
    return [a - 3 * ones, d - 4 * ones, -3 * ones, -4 * ones, tokens[0] * ones, tokens[1] * ones]
