"""mlx-lm's LoRA layers in the model's own type, y + (s x A) B added up in one product.

mlx-lm keeps the factors in float32, and so a float32 copy of each layer's input for the backward pass. Here the factors
are cast instead; they and their gradients stay float32.
"""

from typing import Any

import mlx.core as mx
from mlx_lm.tuner.lora import LoRALinear


class LeanLoRA(LoRALinear):
    """`LoRALinear` with another forward pass."""

    def __call__(self, x: mx.array) -> mx.array:
        y = self.linear(x)
        low = self.scale * (self.dropout(x) @ self.lora_a.astype(x.dtype))
        return mx.addmm(y, low.astype(x.dtype), self.lora_b.astype(x.dtype))


def lora_layers(model: Any) -> list[LoRALinear]:
    """The adapter's layers that have a lean form: LoRA on linear layers, not DoRA and not stacked experts."""
    return [module for _, module in model.named_modules() if type(module) is LoRALinear]


def switch(layers: list[LoRALinear], on: bool) -> None:
    """Make the layers lean, or mlx-lm's own again."""
    for layer in layers:
        layer.__class__ = LeanLoRA if on else LoRALinear
