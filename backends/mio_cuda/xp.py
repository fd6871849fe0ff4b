"""The shared array functions, from PyTorch."""

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
