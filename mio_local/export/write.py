"""A trained adapter as files that others load: an adapter of PEFT's or mlx-lm's, a merged model; whole or not."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mio_local.adapters.adapter import SavedAdapter
from mio_local.adapters.convert import write_adapter
from mio_local.adapters.counterparts import counterparts
from mio_local.adapters.merge import ExpertPlace, merge
from mio_local.backends import load_backend
from mio_local.errors import BackendError, ModelError, RecipeError
from mio_local.evaluation.loading import Source
from mio_local.export.logits_check import Check, compare
from mio_local.models.locate import quantised
from mio_local.models.weights import copy_beside, linear_names, stored_weights, write_weights
from mio_local.progress import Report
from mio_local.storage.paths import building, expanded

ADAPTERS = {"mlx": "mlx", "peft": "cuda"}  # the backend whose library reads an adapter of this kind
LIBRARIES = {"mlx": "mlx-lm", "peft": "PEFT"}
PATTERN = re.compile(r"[*?[]")


def export(source: Source, to: str, place: Path, quantize: int, report: Report) -> Check:
    """Write `source` to `place` as `to`: mlx, peft or merged. Nothing is left there where the check fails."""
    if to not in ADAPTERS:
        check_place(source, place)
    with building(place) as folder:
        if to in ADAPTERS:
            saved, present = named_for(source, to)
            write_adapter(saved, to, folder, present, base_name(source))
            backend = ADAPTERS[to]
        else:
            export_merged(source, folder, quantize, report)
            backend = source.open().name
        report("comparing with the app's model", 0, 0)
        return compare(source, folder, place, backend, adapter=to in ADAPTERS, loose=bool(quantize))


def named_for(source: Source, to: str) -> tuple[SavedAdapter, list[str]]:
    """The adapter with its layers called as the library of format `to` calls them, and all linear layers that this
    library sees in the base: by the library itself where it is here and loads the base, else by the base's files.
    Raises ModelError where it has no such layer."""
    try:
        present = load_backend(ADAPTERS[to]).layer_names(source.base, source.model)
    except BackendError:
        present = linear_names(source.base)
    except ModelError:
        if not quantised(source.base):
            raise
        present = linear_names(source.base)
    if to == source.saved.kind or quantised(source.base):
        return source.saved, present
    found = counterparts(source.saved.names, present)
    if lost := [name for name in source.saved.names if name not in found]:
        raise ModelError(f"--to {to}: {lost[0]} is adapted, which is no linear layer that {LIBRARIES[to]} can adapt in "
                         f"this model; {source.saved.kind or 'the adapter'} itself and merged are left")  # fmt: skip
    return source.saved.renamed(found), present


def base_name(source: Source) -> str:
    """What others are to call the base: its whole path where it is a folder here, else its name on the hub."""
    local = expanded(source.model.name, "--model")
    return str(source.base) if local.is_dir() and local.resolve() == source.base else source.model.name


def check_place(source: Source, place: Path) -> None:
    """Raise RecipeError for a place that the backend's library cannot name."""
    if PATTERN.search(str(place)) and source.open().name == "mlx":
        raise RecipeError(f"--out {place}: mlx-lm takes [, * and ? in a path for a pattern; name another place")


def export_merged(source: Source, folder: Path, quantize: int, report: Report) -> None:
    """The base with the adapter in its weights: of a plain base in the dtype of its files; of a quantised one
    dequantised, or quantised again to `quantize` bits."""
    source.saved.check_claimed(linear_names(source.base))

    def experts(layers: Sequence[str]) -> Sequence[ExpertPlace]:
        return source.open().expert_places(source.base, source.model, layers)

    if source.model.quantize or quantised(source.base):
        report("dequantising the base", 0, 0)
        backend = source.open()
        names, weights = backend.dense(source.base, source.model, source.device(backend))
    else:
        names, weights = stored_weights(source.base)

    def plain(config: dict[str, Any]) -> None:
        for key in ("quantization", "quantization_config"):
            config.pop(key, None)

    ready = merge(source.saved, source.base, names, experts)
    write_weights(ready.weights(weights), folder, len(names), report)
    copy_beside(source.base, folder, plain)
    if quantize:
        report(f"quantising to {quantize} bits", 0, 0)
        backend = source.open()
        backend.quantize(folder, quantize, source.device(backend))
