"""A trained adapter as files that others load: an adapter of PEFT's or mlx-lm's, a merged model, GGUF; whole or not."""

import os
import shutil
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from mio_local.backend import load_backend
from mio_local.conversion import write_adapter
from mio_local.errors import BackendError, ModelError, RunError
from mio_local.gguf_convert import convert, converter
from mio_local.gguf_file import check_gguf, layout, metadata, package, write_gguf
from mio_local.loading import Source
from mio_local.merge import merge
from mio_local.models import read_config
from mio_local.report import Report
from mio_local.shapes import read_shape
from mio_local.weights import copy_beside, linear_names, stored_weights, write_weights

ADAPTERS = {"mlx": "mlx", "peft": "cuda"}  # the backend whose library reads an adapter of this kind
PROBE = 32  # tokens whose logits are compared
# of the largest logit: the rounding of float32, that of 16 bits, and that of 8-bit kernels, which round activations too
EXACT, ROUNDED, EIGHT = 1e-4, 0.05, 0.15


@dataclass(frozen=True)
class Check:
    """The largest difference of a logit between the app's model and what was exported, and the largest logit, over
    PROBE tokens; `by` says what computed it. `reason`: why nothing could be compared."""

    difference: float
    largest: float
    by: str
    reason: str = ""


@dataclass(frozen=True)
class Gguf:
    """A GGUF file: the `check` of the weights in it, how many tensors it has, `how` they were compared with those
    weights, and what llama.cpp does otherwise than the app."""

    check: Check
    tensors: int
    how: str
    notes: tuple[str, ...]


@contextmanager
def building(place: Path, inside: str = "") -> Generator[Path]:
    """A folder beside `place` that becomes it at the end, or of which the file `inside` does; what is left of it goes,
    and all of it where anything fails. Raises RunError for a place that is taken."""
    if place.exists():
        raise RunError(f"{place}: is there already, and is left alone; name another place with --out")
    beside = place.with_name(f".{place.name}.{os.getpid()}")
    try:
        beside.mkdir(parents=True)
        yield beside
        if place.exists():
            raise RunError(f"{place}: was made a moment ago, and is left alone; name another place with --out")
        (beside / inside).rename(place)
    finally:
        shutil.rmtree(beside, ignore_errors=True)


def export(source: Source, to: str, place: Path, quantize: int, report: Report) -> Check:
    """Write `source` to `place` as `to`: mlx, peft or merged. Nothing is left there where the check fails."""
    with building(place) as folder:
        if to in ADAPTERS:
            write_adapter(source.saved, to, folder, linear_names(source.base), source.model.name)
            backend = ADAPTERS[to]
        else:
            export_merged(source, folder, quantize, report)
            backend = source.open().name
        report("comparing with the app's model", 0, 0)
        return compare(source, folder, backend, adapter=to in ADAPTERS, loose=bool(quantize))


def export_gguf(source: Source, place: Path, kind: str, llama_cpp: str, report: Report) -> Gguf:
    """The merged weights as one file for llama.cpp, matrices as `kind`: auto, f32, f16 or bf16. With `llama_cpp`, by
    the converter of that checkout. What cannot be written is told before anything is merged."""
    package()
    script = converter(llama_cpp) if llama_cpp else None
    if not script:
        layout(source.base)
    with building(place, place.name) as folder:
        merged, file = folder / f"{place.name}.merged" / source.title, folder / place.name
        merged.mkdir(parents=True)
        export_merged(source, merged, 0, report)
        report("comparing with the app's model", 0, 0)
        check = compare(source, merged, source.open().name, adapter=False, loose=False)
        if script:
            report("converting by llama.cpp", 0, 0)
            return Gguf(check, convert(script, merged, file, kind), "written by llama.cpp's own converter", ())
        made = layout(merged)
        write_gguf(made, merged, file, kind, source.title, report)
        number = check_gguf(made, merged, file, metadata(made, source.title), report)
        return Gguf(check, number, "read back and equal to the merged weights", made.notes)


def export_merged(source: Source, folder: Path, quantize: int, report: Report) -> None:
    """The base with the adapter in its weights: of a plain base in the dtype of its files; of a quantised one
    dequantised, or quantised again to `quantize` bits."""
    if source.model.quantize or quantised(source.base):
        report("dequantising the base", 0, 0)
        backend = source.open()
        names, weights = backend.dense(source.base, source.model, source.device(backend))
    else:
        names, weights = stored_weights(source.base)

    def plain(config: dict[str, Any]) -> None:
        for key in ("quantization", "quantization_config"):
            config.pop(key, None)

    write_weights(merge(source.saved, source.base, names).weights(weights), folder, len(names), report)
    copy_beside(source.base, folder, plain)
    if quantize:
        report(f"quantising to {quantize} bits", 0, 0)
        backend = source.open()
        backend.quantize(folder, quantize, source.device(backend))


def quantised(base: Path) -> bool:
    """Whether a model's files hold quantised weights."""
    return not {"quantization", "quantization_config"}.isdisjoint(read_config(base))


def compare(source: Source, folder: Path, name: str, *, adapter: bool, loose: bool) -> Check:
    """The logits of the app's model against those of the export, loaded by the library of backend `name` as its users
    load it. Raises ModelError where they differ by more than rounding."""
    try:
        library, own = load_backend(name), source.open()
    except BackendError as error:
        return Check(0.0, 0.0, "", str(error))
    if adapter and library.name != own.name:
        if quantised(source.base):
            reason = f"{source.base} is quantised, which only its own library loads; use the plain base"
            return Check(0.0, 0.0, "", reason)
        source = replace(source, model=source.model.model_copy(update={"quantize": 0}))  # each quantises in its own way
    model = source.load(own)
    vocabulary = model.logits([0]).shape[-1]
    ids = np.random.default_rng(0).integers(0, vocabulary, PROBE).tolist()
    ours = model.logits(ids)
    if not adapter and read_shape(folder).stored_dtype != "float32":
        tolerance = ROUNDED
    elif source.model.quantize == 8 and own.name == "cuda":
        tolerance = EIGHT
    else:
        tolerance = ROUNDED if model.half else EXACT
    del model
    base = source.base if adapter else folder
    settings = source.model if adapter else source.model.model_copy(update={"quantize": 0})
    theirs = library.logits(base, settings, source.device(library), ids, folder if adapter else None)
    difference, largest = float(np.abs(ours - theirs).max()), float(np.abs(ours).max())
    by = ", ".join(f"{package} {number}" for package, number in library.versions.items())
    if not loose and not difference <= tolerance * max(1.0, largest):
        raise ModelError(
            f"{folder}: not published: its logits differ from the app's by {difference:.2g}, of {largest:.2g} ({by})"
        )
    return Check(difference, largest, by)
