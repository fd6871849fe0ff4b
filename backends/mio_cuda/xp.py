"""The shared array functions, from PyTorch."""

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import torch

XP: Any = SimpleNamespace(
    exp=torch.exp,
    logaddexp=torch.logaddexp,
    logsumexp=torch.logsumexp,
    take_along_axis=torch.take_along_dim,
    zeros_like=torch.zeros_like,
    stop_gradient=torch.Tensor.detach,
)


def copy_all(to: Sequence[torch.Tensor], of: Sequence[torch.Tensor]) -> None:
    """Copy each tensor into its place, of whatever type, by few kernels for all."""
    torch._foreach_copy_(list(to), list(of))  # pyright: ignore[reportPrivateUsage] - optimisers of others take it too


def add_all(to: Sequence[torch.Tensor], of: Sequence[torch.Tensor]) -> None:
    """Add each tensor to another of its type, by few kernels for all."""
    torch._foreach_add_(list(to), list(of))  # pyright: ignore[reportPrivateUsage]
