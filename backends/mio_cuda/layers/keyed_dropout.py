"""Dropout whose masks come from the rows that it drops from: see `mio_local.data.collate.Batch.seeds`."""

from collections.abc import Sequence
from typing import Any

import torch

from mio_cuda.cpu_microbatches import Here
from mio_local.data.collate import seed_of

ROW_SEEDS: Here[Sequence[tuple[int, int]]] = Here()  # (seed, tokens fed) of the rows of the part that a thread works on


class KeyedDropout(torch.nn.Dropout):
    """A row's mask is drawn by its own seed, as long as the row is. What has lost the rows, as tokens sorted by expert,
    is drawn at once, by the seeds of all."""

    number = 0  # among the model's

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        if not self.training or self.p == 0:
            return input
        rows, kept = ROW_SEEDS.get(), 1 - self.p
        generator = torch.Generator(input.device)
        mask = torch.zeros_like(input, requires_grad=False)
        if input.ndim == 3 and len(input) == len(rows) and input.shape[1] >= max(length for _, length in rows):
            for row, (seed, length) in enumerate(rows):
                generator.manual_seed(seed_of(seed, self.number))
                mask[row, :length].bernoulli_(kept, generator=generator)
        else:
            generator.manual_seed(seed_of(*rows, self.number))
            mask.bernoulli_(kept, generator=generator)
        return input * mask.div_(kept)


def key_dropouts(model: Any) -> bool:
    """Let the adapter's dropout draw by rows; whether there is any."""
    found = [
        module for name, module in model.named_modules()
        if isinstance(module, torch.nn.Dropout) and ".lora_dropout." in f"{name}."
    ]  # fmt: skip
    for number, module in enumerate(found):
        module.__class__ = KeyedDropout
        module.__dict__["number"] = number
    return bool(found)
