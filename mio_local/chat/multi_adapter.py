"""Several adapters of one base in the one adapter that a loaded model has.

An adapter of rank r with scale s is one of a larger rank and scale 1 too: B times s, and zeros for the missing rows of
A and columns of B; a layer that it leaves alone is one whose B is zero. So changing the adapter is writing new weights.
"""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from mio_local.adapters.adapter import Adapter, SavedAdapter, draw_adapter
from mio_local.adapters.terms import grown, rank_of, scale_of
from mio_local.backends import Model
from mio_local.errors import ModelError
from mio_local.recipe import LoraSettings, TrainSettings


@dataclass(frozen=True)
class Voices:
    """A loaded model and the weights that each of its adapters has there; the reference is the base alone."""

    model: Model
    weights: Mapping[str, Adapter]

    def take(self, name: str) -> None:
        """Make the adapter called `name` the policy."""
        self.model.set_adapter(self.weights[name], reference=False)


def load_voices(model: Model, adapters: Mapping[str, SavedAdapter]) -> Voices:
    """Put `adapters` on a bare model. Raises ModelError where one does not fit, or not with the others."""
    if not adapters:
        return Voices(model, {})
    saved = list(adapters.values())
    if len({one.dora for one in saved}) > 1:
        both = f"{saved[0].folder} and {saved[-1].folder}"
        raise ModelError(f"{both}: LoRA and DoRA do not go into one model; open one alone")
    present = model.linear_layers()
    fitted = {key: one.fitted(present) for key, one in adapters.items()}
    saved = list(fitted.values())
    names = [name for name in present if any(name in one.names for one in saved)]
    alone = len(saved) == 1
    rank = max(rank_of(one, name) for one in saved for name in one.names)
    together = LoraSettings(rank=rank, alpha=float(rank), dora=saved[0].dora)
    slots = model.add_lora(saved[0].settings if alone else together, TrainSettings(), names)
    if alone:
        saved[0].check_shapes(slots)
    model.set_adapter(draw_adapter(slots, 0))
    base = model.get_adapter()  # DoRA's magnitudes are the base's
    weights = {key: one.weights if alone else widened(one, base, rank) for key, one in fitted.items()}
    return Voices(model, weights)


def widened(saved: SavedAdapter, base: Adapter, rank: int) -> Adapter:
    """`saved` as an adapter of `rank` and scale 1 on the layers of `base`, which has no effect."""
    saved.check_whole()
    wide = dict(base)
    for key, value in saved.weights.items():
        full = grown(key, value, rank, scale_of(saved, key.rpartition(".")[0]))
        if full.shape != base[key].shape:
            raise ModelError(f"{saved.folder}: {key} has shape {value.shape}: trained on another base?")
        wide[key] = full
    return wide


def unique(names: Sequence[str], taken: Sequence[str]) -> list[str]:
    """The names, a number behind those that are there twice or `taken`."""
    found: list[str] = []
    for name in names:
        numbered = (f"{name} {number}" for number in itertools.count(1))
        known = {*names, *taken, *found}
        once = names.count(name) == 1 and name not in taken
        found.append(name if once else next(title for title in numbered if title not in known))
    return found
