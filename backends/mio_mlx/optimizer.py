"""The optimiser of an adapter's weights, from MLX, and what it keeps from step to step."""

from typing import Any

import mlx.core as mx
import mlx.optimizers as optim
from mlx.utils import tree_flatten, tree_unflatten

from mio_local.adapters.adapter import MLX
from mio_local.objectives.optimizers import OPTIMIZERS, arguments_of, learns_faster
from mio_local.recipe import TrainSettings

CANONICAL = {leaf: name for name, leaf in MLX.items()}
AVAILABLE = tuple(name for name in OPTIMIZERS if name != "adamw_8bit")


class Muon(optim.Muon):
    """MLX's Muon with the weight decay apart from the gradient, over A (rank, in) and B (out, rank) as PyTorch has
    them, which mlx-lm stores transposed: the step goes by rows over columns. Stacked experts are matrices each."""

    def __init__(self, learning_rate: float, momentum: float, decay: float) -> None:
        super().__init__(learning_rate, momentum, weight_decay=0.0)
        self.decay = decay

    def apply_single(self, gradient: mx.array, parameter: mx.array, state: dict[str, Any]) -> mx.array:
        momentum, rate = self.momentum, self.learning_rate.astype(gradient.dtype)
        state["v"] = momentum * state["v"] + (1 - momentum) * gradient
        update = (1 - momentum) * gradient + momentum * state["v"]
        stacked = update.ndim == 3
        update = mx.vmap(self._orthogonal)(update) if stacked else self._orthogonal(update.T)
        rows, columns = update.shape[-2:]
        update = update * max(1, rows / columns) ** 0.5
        return (1 - rate * self.decay) * parameter - rate * (update if stacked else update.T)

    def _orthogonal(self, matrix: mx.array) -> mx.array:
        return self._zeropower_via_newtonschulz5(matrix, steps=self.ns_steps)


class Updates:
    """The recipe's optimiser over a model's trainable weights; with LoRA+ (arXiv 2402.12354) at two rates."""

    def __init__(self, train: TrainSettings, weights: Any) -> None:
        parts: dict[tuple[str, float], list[tuple[str, mx.array]]] = {}
        for key, weight in _leaves(weights):
            name = "adamw" if train.optimizer == "muon" and weight.ndim < 2 else train.optimizer
            layer, _, leaf = key.rpartition(".")
            fast = learns_faster(f"{layer}.{CANONICAL[leaf]}")
            parts.setdefault((name, train.loraplus_lr_ratio if fast else 1.0), []).append((key, weight))
        self.part_of = {key: number for number, part in enumerate(parts.values()) for key, _ in part}
        self.ratios = [ratio for _, ratio in parts]
        self.optimizers = [_made(name, train) for name, _ in parts]
        trees = [weights] if len(parts) == 1 else map(tree_unflatten, parts.values())
        for optimizer, tree in zip(self.optimizers, trees, strict=True):
            optimizer.init(tree)
        mx.eval(self.state)  # in memory before the longest pairs are tried

    def step(self, model: Any, gradient: Any, learning_rate: float) -> None:
        """Update the model's weights by the gradient."""
        split = [gradient]
        if len(self.optimizers) > 1:
            flat: list[list[tuple[str, mx.array]]] = [[] for _ in self.optimizers]
            for key, value in _leaves(gradient):
                flat[self.part_of[key]].append((key, value))
            split = [tree_unflatten(part) for part in flat]
        for optimizer, ratio, part in zip(self.optimizers, self.ratios, split, strict=True):
            optimizer.learning_rate = learning_rate * ratio
            optimizer.update(model, part)
        mx.eval(model.trainable_parameters(), self.state)

    @property
    def state(self) -> Any:
        """A tree of arrays: the one optimiser's own, or a list of several's."""
        return self.optimizers[0].state if len(self.optimizers) == 1 else [one.state for one in self.optimizers]

    @state.setter
    def state(self, state: Any) -> None:
        for optimizer, own in zip(self.optimizers, [state] if len(self.optimizers) == 1 else state, strict=True):
            optimizer.state = own


def _leaves(tree: Any) -> list[tuple[str, mx.array]]:
    return tree_flatten(tree)  # type: ignore[return-value] - as in `lora`, which would bring all of mlx-lm


def _made(name: str, train: TrainSettings) -> optim.Optimizer:
    rate, decay = train.learning_rate, train.weight_decay
    own = arguments_of(train.optimizer, train.optimizer_args)
    if name == "lion":
        return optim.Lion(rate, [own["beta1"], own["beta2"]], decay)
    if name == "muon":
        return Muon(rate, own["momentum"], decay)
    return optim.AdamW(
        learning_rate=rate,
        betas=[train.adam_beta1, train.adam_beta2],
        eps=train.adam_eps,
        weight_decay=decay,
        bias_correction=True,  # off by default here, always on in torch
    )
