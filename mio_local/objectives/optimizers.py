"""The optimisers that a run may take, by name: what each reads and keeps. The backends have them from their libraries.

All decay the weights apart from the gradient: w is multiplied by 1 - rate * weight_decay in each step.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

Name = Literal["adamw", "adamw_8bit", "lion", "muon"]


@dataclass(frozen=True)
class Optimizer:
    """`kept`: bytes for each weight beside it and its gradient. `adam`: whether it reads the recipe's adam_beta1,
    adam_beta2 and adam_eps. `arguments`: its own, all in [0, 1), with their defaults."""

    kept: float
    adam: bool
    arguments: Mapping[str, float] = field(default_factory=dict[str, float])


OPTIMIZERS: dict[Name, Optimizer] = {
    "adamw": Optimizer(8, adam=True),  # arXiv 1711.05101: two moments
    "adamw_8bit": Optimizer(2 + 8 / 256, adam=True),  # arXiv 2110.02861: two bytes, two scales for each 256 weights
    "lion": Optimizer(4, adam=False, arguments={"beta1": 0.9, "beta2": 0.99}),  # arXiv 2302.06675, algorithm 2
    # Jordan 2024, kellerjordan.github.io/posts/muon, with Nesterov's momentum; what is no matrix, as DoRA's magnitudes,
    # has AdamW
    "muon": Optimizer(4, adam=True, arguments={"momentum": 0.95}),
}


def arguments_of(name: Name, given: Mapping[str, float]) -> dict[str, float]:
    """The optimiser's own arguments: those given, else its defaults. Raises ValueError for one that it has not, or that
    is out of range."""
    known = OPTIMIZERS[name].arguments
    for key, value in given.items():
        if key not in known:
            raise ValueError(f"{name} takes no {key}; it takes {' and '.join(known) or 'none'}")
        if not 0 <= value < 1:
            raise ValueError(f"{key} must be 0 or more, below 1")
    return {**known, **given}


def learns_faster(name: str) -> bool:
    """Whether LoRA+ gives an adapter's tensor, by its canonical name, the higher rate: all but A."""
    return not name.endswith(".lora_A")
