"""A batch's arrays on the device: on a GPU by one copy, out of memory that it reads while the host goes on."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from mio_cuda.layers.shared_rows import Rows
from mio_local.data.collate import Batch

ALIGNED = 16  # bytes: where an array begins in the one that is copied


@dataclass(frozen=True)
class Placed:
    """A batch's arrays, and the reference's log-probs of its answers where they are known; `rows` of shared ones."""

    inputs: torch.Tensor
    where: torch.Tensor
    targets: torch.Tensor
    mask: torch.Tensor
    tokens: torch.Tensor
    rewards: torch.Tensor | None
    reference: torch.Tensor | None
    rows: Rows | None


def place(batch: Batch, reference: np.ndarray | None, device: torch.device) -> Placed:
    """The batch on the device, indices as PyTorch takes them (int64)."""
    whole = [array.astype(np.int64) for array in (batch.inputs, batch.where, batch.targets)]
    optional = [batch.rewards, reference]
    shared = Rows.indices(batch.spans, batch.inputs.shape[1]) if batch.spans else []
    given = [*whole, batch.mask, batch.tokens, *(array for array in optional if array is not None), *shared]
    there = iter(copied(given, device))
    inputs, where, targets, mask, tokens = (next(there) for _ in range(5))
    rewards, known = (None if array is None else next(there) for array in optional)
    rows = Rows(batch.spans, batch.inputs.shape[1], list(there)) if batch.spans else None
    return Placed(inputs, where, targets, mask, tokens, rewards, known, rows)


def copied(arrays: Sequence[np.ndarray], device: torch.device) -> list[torch.Tensor]:
    """The arrays on the device, by one copy where that is another than the CPU."""
    if device.type == "cpu":
        return [torch.from_numpy(array) for array in arrays]
    starts = np.cumsum([0, *(-(-array.nbytes // ALIGNED) * ALIGNED for array in arrays)])
    host = torch.empty(int(starts[-1]), dtype=torch.uint8, pin_memory=device.type == "cuda")
    held = host.numpy()
    for start, array in zip(starts, arrays, strict=False):
        held[start : start + array.nbytes] = np.ascontiguousarray(array).reshape(-1).view(np.uint8)
    there = host.to(device, non_blocking=True)
    return [
        there[start : start + array.nbytes].view(torch.from_numpy(array[:0]).dtype).reshape(array.shape)
        for start, array in zip(starts.tolist(), arrays, strict=False)
    ]
