"""A base's weights with an adapter worked into them, one at a time, the adapter and the base as any backend has them.

    LoRA:  W' = W + scale * B A                              (Hu et al. 2021, arXiv 2106.09685, equation 3)
    DoRA:  W' = m * V / |V| by row, V = W + scale * B A      (Liu et al. 2024, arXiv 2402.09353, equation 5)

A stack of experts is merged expert by expert. The sums are in float32 whatever the weights' dtype, which they keep.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from mio_local.adapters.adapter import SavedAdapter
from mio_local.adapters.counterparts import counterparts
from mio_local.adapters.terms import scale_of
from mio_local.errors import ModelError
from mio_local.models.locate import read_config

CONV1D = ("gpt2", "openai-gpt")  # models whose files hold linear layers as (in, out)


@dataclass(frozen=True)
class ExpertPlace:
    """Where one expert's weight of a stacked layer lies in a base's files: its element (i, j), of (out, in), is number
    start + i * row + j * column of `tensor`, counted as it is stored."""

    layer: str
    expert: int
    tensor: str
    start: int
    row: int
    column: int


@dataclass(frozen=True)
class Merge:
    """An adapter on its way into a base: `layers`, the adapted layer by the name of its weight in the base's files;
    `experts`, by the name of a tensor the experts in it."""

    saved: SavedAdapter
    base: Path
    layers: dict[str, str]
    experts: Mapping[str, Sequence[ExpertPlace]] = field(default_factory=dict[str, Sequence[ExpertPlace]])

    def weights(self, stored: Iterable[tuple[str, np.ndarray]]) -> Iterator[tuple[str, np.ndarray]]:
        """The weights by name, those of the adapted layers merged."""
        turned = read_config(self.base).get("model_type") in CONV1D
        for name, weight in stored:
            if layer := self.layers.get(name):
                yield name, self.layer(layer, weight.T if turned else weight, turned=turned)
            elif places := self.experts.get(name):
                yield name, self.stack(places, weight)
            else:
                yield name, weight

    def stack(self, places: Sequence[ExpertPlace], weight: np.ndarray) -> np.ndarray:
        """A tensor of the files with its experts' W' in the places of their W, in its dtype."""
        dense = weight.astype(np.float32).ravel()
        step = dense.itemsize
        for place in places:
            a, b = (self.saved.weights[f"{place.layer}.{leaf}"][place.expert] for leaf in ("lora_A", "lora_B"))
            own = np.lib.stride_tricks.as_strided(
                dense[place.start :], (b.shape[0], a.shape[1]), (place.row * step, place.column * step)
            )
            own += np.float32(scale_of(self.saved, place.layer)) * (b @ a)
        return dense.reshape(weight.shape).astype(weight.dtype)

    def layer(self, layer: str, weight: np.ndarray, *, turned: bool = False) -> np.ndarray:
        """W' from W (out, in), in W's dtype; with `turned`, as (in, out). Raises ModelError for another shape."""
        a, b = self.saved.weights[f"{layer}.lora_A"], self.saved.weights[f"{layer}.lora_B"]
        if weight.shape != (*b.shape[:-1], a.shape[-1]):
            raise ModelError(
                f"{self.saved.folder}: {layer} is adapted from {a.shape[-1]} to {b.shape[-2]}, "
                f"the base's layer has {' x '.join(map(str, weight.shape))}: trained on another base?"
            )
        dense = weight.astype(np.float32) + np.float32(scale_of(self.saved, layer)) * (b @ a)
        if self.saved.dora:
            dense *= (self.saved.weights[f"{layer}.magnitude"] / np.linalg.norm(dense, axis=1))[:, None]
        return np.ascontiguousarray(dense.T if turned else dense).astype(weight.dtype)


def merge(
    saved: SavedAdapter, base: Path, names: Sequence[str],
    experts: Callable[[Sequence[str]], Sequence[ExpertPlace]] | None = None,
) -> Merge:  # fmt: skip
    """`saved` for the base in `base`, whose weights have these names; `experts` finds those of stacked layers that the
    files hold in another way. Raises ModelError for a layer that it lacks, and for a tensor that the adapter lacks."""
    saved.check_whole()
    found = counterparts(saved.names, (name.removesuffix(".weight") for name in names if name.endswith(".weight")))
    layers = {f"{own}.weight": layer for layer, own in found.items()}
    missing = [layer for layer in saved.names if layer not in found]
    stacked = [layer for layer in missing if saved.weights[f"{layer}.lora_A"].ndim == 3]
    if lost := [layer for layer in missing if layer not in stacked or experts is None]:
        raise ModelError(f"{saved.folder}: adapts {lost[0]}, of which {base} has no weight: trained on another base?")
    places: dict[str, list[ExpertPlace]] = defaultdict(list)
    for place in experts(stacked) if experts and stacked else ():
        places[place.tensor].append(place)
    return Merge(saved, base, layers, places)
