"""A trained adapter as files that others load: an adapter of PEFT's or mlx-lm's, a merged model, GGUF; whole or not."""

import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from mio_local.adapters.convert import write_adapter
from mio_local.adapters.merge import merge
from mio_local.backends import load_backend
from mio_local.errors import BackendError, ModelError, RecipeError
from mio_local.evaluation.loading import Source
from mio_local.export.gguf_convert import convert, converter
from mio_local.export.gguf_file import check_gguf, layout, metadata, package, write_gguf
from mio_local.models.locate import read_config
from mio_local.models.shapes import read_shape
from mio_local.models.weights import copy_beside, linear_names, stored_weights, write_weights
from mio_local.progress import Report
from mio_local.storage.paths import building, expanded

ADAPTERS = {"mlx": "mlx", "peft": "cuda"}  # the backend whose library reads an adapter of this kind
PATTERN = re.compile(r"[*?[]")
PROBE = 32  # tokens whose logits are compared
# of the largest logit: the rounding of float32, that of 16 bits, and that of 8-bit kernels, which round activations too
EXACT, ROUNDED, EIGHT = 1e-4, 0.05, 0.15
SHARE = 0.25  # of the adapter's effect on the logits: as much of it may be lost, or added, in rounding
NOISE = 4  # times the effect: in more of it the effect is not found again


@dataclass(frozen=True)
class Check:
    """The largest difference of a logit between the app's model and what was exported, and the largest logit, over
    PROBE tokens; `by` says what computed it. `reason`: why nothing could be compared. `loose`: any difference was
    allowed."""

    difference: float
    largest: float
    by: str
    reason: str = ""
    loose: bool = False


@dataclass(frozen=True)
class Gguf:
    """A GGUF file: the `check` of the weights in it, how many tensors it has, `how` they were compared with those
    weights, and what llama.cpp does otherwise than the app."""

    check: Check
    tensors: int
    how: str
    notes: tuple[str, ...]


def export(source: Source, to: str, place: Path, quantize: int, report: Report) -> Check:
    """Write `source` to `place` as `to`: mlx, peft or merged. Nothing is left there where the check fails."""
    if to not in ADAPTERS:
        _check_place(source, place)
    with building(place) as folder:
        if to in ADAPTERS:
            write_adapter(source.saved, to, folder, linear_names(source.base), base_name(source))
            backend = ADAPTERS[to]
        else:
            export_merged(source, folder, quantize, report)
            backend = source.open().name
        report("comparing with the app's model", 0, 0)
        return compare(source, folder, place, backend, adapter=to in ADAPTERS, loose=bool(quantize))


def export_gguf(source: Source, place: Path, kind: str, llama_cpp: str, report: Report) -> Gguf:
    """The merged weights as one file for llama.cpp, matrices as `kind`: auto, f32, f16 or bf16. With `llama_cpp`, by
    the converter of that checkout. What cannot be written is told before anything is merged."""
    package()
    script = converter(llama_cpp) if llama_cpp else None
    if not script:
        layout(source.base)
    _check_place(source, place)
    with building(place, place.name) as folder:
        # llama.cpp's converter calls the model by its folder
        merged, file = folder / f"{place.name}.merged" / PATTERN.sub("-", source.title), folder / place.name
        merged.parent.mkdir()
        merged.mkdir()
        export_merged(source, merged, 0, report)
        report("comparing with the app's model", 0, 0)
        check = compare(source, merged, place, source.open().name, adapter=False, loose=False)
        if script:
            report("converting by llama.cpp", 0, 0)
            return Gguf(check, convert(script, merged, file, kind), "written by llama.cpp's own converter", ())
        made = layout(merged)
        write_gguf(made, merged, file, kind, source.title, report)
        number = check_gguf(made, merged, file, metadata(made, source.title), report)
        return Gguf(check, number, "read back and equal to the merged weights", made.notes)


def base_name(source: Source) -> str:
    """What others are to call the base: its whole path where it is a folder here, else its name on the hub."""
    local = expanded(source.model.name, "--model")
    return str(source.base) if local.is_dir() and local.resolve() == source.base else source.model.name


def _check_place(source: Source, place: Path) -> None:
    if PATTERN.search(str(place)) and source.open().name == "mlx":
        raise RecipeError(f"--out {place}: mlx-lm takes [, * and ? in a path for a pattern; name another place")


def export_merged(source: Source, folder: Path, quantize: int, report: Report) -> None:
    """The base with the adapter in its weights: of a plain base in the dtype of its files; of a quantised one
    dequantised, or quantised again to `quantize` bits."""
    source.saved.check_claimed(linear_names(source.base))
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


def compare(source: Source, folder: Path, place: Path, name: str, *, adapter: bool, loose: bool) -> Check:
    """The logits of the app's model against those of the export in `folder`, loaded by the library of backend `name` as
    its users load it. Raises ModelError, which calls it `place`, where they are no numbers, differ by more than
    rounding, or have lost the adapter in it; with `loose` for the first alone."""
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
    by = ", ".join(f"{package} {number}" for package, number in library.versions.items())
    for logits, whose in ((ours, "the app's"), (theirs, "its")):
        if not np.isfinite(logits).all():
            raise ModelError(f"{place}: not published: {whose} logits are not all numbers ({by})")
    difference, largest = float(np.abs(ours - theirs).max()), float(np.abs(ours).max())
    if loose:
        return Check(difference, largest, by, loose=True)
    if difference > tolerance * max(1.0, largest):
        raise ModelError(
            f"{place}: not published: its logits differ from the app's by {difference:.2g}, of {largest:.2g} ({by})"
        )
    if tolerance > EXACT:
        bare = own.logits(source.base, source.model, source.device(own), ids, None)
        share = kept(ours - bare, theirs - bare, EXACT * max(1.0, largest) / SHARE)
        if abs(share - 1) > SHARE:
            raise ModelError(
                f"{place}: not published: on the logits it has {share:.0%} of the adapter's effect ({by}); where 16 "
                "bits are too coarse for so small a one, export the adapter: --to peft or --to mlx"
            )
    return Check(difference, largest, by)


def kept(effect: np.ndarray, found: np.ndarray, least: float) -> float:
    """How much of `effect` there is in `found`, by least squares, whatever noise lies beside it; 1 for an effect that
    rounding may hide: its largest is at most `least`, or the noise is NOISE times as large."""
    wanted, got = effect.astype(np.float64).ravel(), found.astype(np.float64).ravel()
    if np.abs(wanted).max() <= least:
        return 1.0
    share = float(wanted @ got / (wanted @ wanted))
    return share if np.linalg.norm(got - share * wanted) <= NOISE * np.linalg.norm(wanted) else 1.0
