"""A base's weights with an adapter worked into them, one at a time, the adapter and the base as any backend has them.

    LoRA:  W' = W + alpha / rank * B A                              (Hu et al. 2021, arXiv 2106.09685, equation 3)
    DoRA:  W' = m * V / |V| by row, V = W + alpha / rank * B A      (Liu et al. 2024, arXiv 2402.09353, equation 5)

The sums are in float32 whatever the weights' dtype, which they keep.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mio_local.adapters.adapter import SavedAdapter
from mio_local.errors import ModelError
from mio_local.models.locate import read_config

CONV1D = ("gpt2", "openai-gpt")  # models whose files hold linear layers as (in, out)


@dataclass(frozen=True)
class Merge:
    """An adapter on its way into a base: `layers`, the adapted layer by the name of its weight in the base's files."""

    saved: SavedAdapter
    base: Path
    layers: dict[str, str]

    def weights(self, stored: Iterable[tuple[str, np.ndarray]]) -> Iterator[tuple[str, np.ndarray]]:
        """The weights by name, those of the adapted layers merged."""
        turned = read_config(self.base).get("model_type") in CONV1D
        for name, weight in stored:
            layer = self.layers.get(name)
            yield name, weight if layer is None else self.layer(layer, weight.T if turned else weight, turned=turned)

    def layer(self, layer: str, weight: np.ndarray, *, turned: bool = False) -> np.ndarray:
        """W' from W (out, in), in W's dtype; with `turned`, as (in, out). Raises ModelError for another shape."""
        a, b = self.saved.weights[f"{layer}.lora_A"], self.saved.weights[f"{layer}.lora_B"]
        if a.ndim != 2 or weight.shape != (b.shape[0], a.shape[1]):
            raise ModelError(
                f"{self.saved.folder}: {layer} is adapted from {a.shape[-1]} to {b.shape[-2]}, "
                f"the base's layer has {' x '.join(map(str, weight.shape))}: trained on another base?"
            )
        dense = weight.astype(np.float32) + np.float32(self.saved.alpha / self.saved.rank) * (b @ a)
        if self.saved.dora:
            dense *= (self.saved.weights[f"{layer}.magnitude"] / np.linalg.norm(dense, axis=1))[:, None]
        return np.ascontiguousarray(dense.T if turned else dense).astype(weight.dtype)


def merge(saved: SavedAdapter, base: Path, names: Sequence[str]) -> Merge:
    """`saved` for the base in `base`, whose weights have these names. Raises ModelError for a layer that it lacks, and
    for a tensor that the adapter lacks."""
    saved.check_whole()
    if stacked := [name for name in saved.names if saved.weights[f"{name}.lora_A"].ndim > 2]:
        raise ModelError(f"{saved.folder}: adapts {stacked[0]}, experts that mlx-lm stacks and Hugging Face's files "
                         "hold one by one, so it is not merged; use --to mlx")  # fmt: skip
    layers: dict[str, str] = {}
    for layer in saved.names:
        wanted = f"{layer}.weight"
        # a model that is part of another one has a prefix that its own files may lack, or the other way round
        found = [wanted] if wanted in names else [
            name for name in names if name.endswith(f".{wanted}") or wanted.endswith(f".{name}")
        ]  # fmt: skip
        if len(found) != 1:
            raise ModelError(f"{saved.folder}: adapts {layer}, of which {base} has no weight: trained on another base?")
        layers[found[0]] = layer
    return Merge(saved, base, layers)
