"""The losses on each array library: values and gradients as float64 numpy, and what to expect of their precision."""

from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from mio_local.arrays import NUMPY
from mio_local.objectives.losses import Objective, PairLogps

Fields = Sequence[np.ndarray]  # in PairLogps's order: six, and rewards where there are any
Graded = tuple[np.ndarray, np.ndarray, np.ndarray]  # value, d/d chosen: per pair or group; d/d rejected, as those are

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
    """Value and gradient of each pair's or group's loss: by autograd, on numpy by central differences."""
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
    stopped: list[np.ndarray] = []  # what the loss takes no gradient of, in the order of its calls
    value = objective(_numpy(lambda x: stopped.append(x) or x), PairLogps(*fields))

    def at(index: int, row: Any, step: float) -> np.ndarray:
        moved = [field.copy() for field in fields]
        moved[index][row] += step
        held = iter(stopped)
        return objective(_numpy(lambda _: next(held)), PairLogps(*moved))

    def slope(index: int, row: Any = ...) -> np.ndarray:
        return (at(index, row, STEP) - at(index, row, -STEP)) / (2 * STEP)

    # each loss depends on its own group alone, so the answers of one rank are moved at once in all groups
    grouped = fields[1].ndim > 1
    return value, slope(0), np.stack([slope(1, row) for row in range(len(fields[1]))]) if grouped else slope(1)


def _numpy(stop_gradient: Callable[[np.ndarray], np.ndarray]) -> Any:
    return SimpleNamespace(**{**vars(NUMPY), "stop_gradient": stop_gradient})


def from_ratios(a: Any, d: Any, tokens: tuple[Any, Any] = (1.0, 1.0)) -> list[np.ndarray]:
    """Fields of pairs whose log-ratios are a and d; the reference's own log-probs are -3 and -4."""
    a, d = np.atleast_1d(np.asarray(a, np.float64)), np.atleast_1d(np.asarray(d, np.float64))
    ones = np.ones(np.broadcast(a, d).shape)
    return [a - 3 * ones, d - 4 * ones, -3 * ones, -4 * ones, tokens[0] * ones, tokens[1] * ones]
