"""`mio-local export RUN --to FORMAT`: files that other programs load, checked, and the commands that load them."""

import argparse
import re
import shlex
from pathlib import Path

from mio_local import printing
from mio_local.backends import load_backend
from mio_local.errors import BackendError, MioError, ModelError, RecipeError, RunError, nearest
from mio_local.evaluation.loading import Source, named
from mio_local.export.gguf_file import KINDS
from mio_local.export.logits_check import Check
from mio_local.export.write import base_name, export, export_gguf
from mio_local.models.locate import quantised
from mio_local.models.shapes import known_shape
from mio_local.recipe import BackendSettings
from mio_local.runs.directory import runs_folder
from mio_local.storage.paths import expanded
from mio_local.text import visible

FORMATS = ("peft", "mlx", "merged", "gguf")


def main(arguments: argparse.Namespace) -> int:
    """Export; 0 once the files are complete and agree with the app's model."""
    to, bits = arguments.to, arguments.quantize
    if to not in FORMATS:
        raise RecipeError(f"--to {to}: no such format{nearest(to, FORMATS)}; there are {', '.join(FORMATS)}")
    if bits and (to != "merged" or bits not in (4, 8)):
        raise RecipeError(f"--quantize {bits}: only a merged model is quantised, to 4 or 8 bits")
    kind, llama_cpp = arguments.gguf_type, arguments.llama_cpp
    if to != "gguf" and (kind != "auto" or llama_cpp):
        raise RecipeError(f"{f'--llama-cpp {llama_cpp}' if llama_cpp else f'--gguf-type {kind}'}: only with --to gguf")
    if kind not in KINDS:
        raise RecipeError(f"--gguf-type {kind}: no such type{nearest(kind, KINDS)}; there are {', '.join(KINDS)}")
    where = BackendSettings(device=arguments.device or "auto")
    found = named(runs_folder(arguments.runs), arguments.run, arguments.checkpoint, arguments.model, where)
    if not isinstance(found, Source):
        raise RunError(f"{arguments.run}: is a model without an adapter; there is nothing to export")
    out, place = printing.console(), _place(found, arguments)
    if found.run and not arguments.out:
        place.parent.mkdir(exist_ok=True)  # and none above it: a run that was moved away is not begun anew
    with printing.preparing(out) as report:
        if to == "gguf":
            made = export_gguf(found, place, kind, llama_cpp, report)
            check = made.check
        else:
            made, check = None, export(found, to, place, bits, report)
    out.print(f"{visible(found.title)} as {to}: {visible(str(place))}")
    out.print(_said(check))
    if made:
        out.print(f"{made.tensors} tensors, {made.how}")
    for note in made.notes if made else ():
        out.print(f"! {visible(note)}")
    printing.next_steps(out, *_uses(found, to, place, bits))
    return 0


def _place(found: Source, arguments: argparse.Namespace) -> Path:
    if arguments.out:
        return expanded(arguments.out, "--out").absolute()
    if arguments.to == "gguf" and not found.run:
        return Path(f"{found.saved.folder.absolute()}.gguf")
    name = found.title if arguments.to == "gguf" else arguments.to
    name += "" if arguments.checkpoint == "final" else f"-{arguments.checkpoint}"
    name += ".gguf" if arguments.to == "gguf" else ""
    name += f"-{arguments.quantize}bit" if arguments.quantize else ""
    return found.run.path / "exports" / name if found.run else Path(f"{found.saved.folder.absolute()}-{name}")


def _said(check: Check) -> str:
    if check.reason:
        return f"! its logits were not compared with the app's: {visible(check.reason)}"
    if check.share:
        return (
            f"! its logits differ from the app's by {check.difference:.1g}, of {check.largest:.2g}: the two libraries "
            f"compute this model otherwise; it has {check.share:.0%} of the adapter's effect ({check.by})"
        )
    how = "differ from the app's by at most" if check.loose else "equal the app's to"
    return f"its logits {how} {check.difference:.1g}, the largest being {check.largest:.2g} ({check.by})"


def _uses(found: Source, to: str, place: Path, bits: int) -> list[str]:
    """The commands that load it; a model that is quantised again is its own library's alone."""
    at, base = (visible(shlex.quote(str(value))) for value in (place, base_name(found)))
    if to == "mlx":
        return [f"mlx_lm.generate --model {base} --adapter-path {at} --prompt '...'"]
    if to == "peft":
        return [printing.with_peft(_loader(found.base), base_name(found), place)]
    if to == "gguf":
        name = re.sub(r"[^a-z0-9._-]+", "-", found.title.lower()).strip("-._") or "model"
        return [
            f"llama-cli -m {at} -p '...'",
            f"echo {visible(shlex.quote(f'FROM {place.absolute()}'))} > Modelfile && ollama create {name} -f Modelfile",
            f"lms import {at}    # LM Studio",
        ]
    by_library = {
        "mlx": f"mlx_lm.generate --model {at} --prompt '...'",
        "cuda": printing.in_python("transformers", _loader(found.base) or "AutoModelForCausalLM", place),
    }
    shape, own = known_shape(found.base), found.open().name
    was_quantised = found.model.quantize or quantised(found.base)
    # experts out of a quantised base are written as its own library stacks them
    alone = bits or (was_quantised and shape is not None and shape.experts > 1)
    return [text for name, text in by_library.items() if name == own or not (alone or _unknown(name, found))]


def _loader(base: Path) -> str:
    """The class of transformers that loads the base; "" where nobody here can say."""
    try:
        return load_backend("cuda").loader(base)
    except MioError:
        return ""


def _unknown(name: str, found: Source) -> bool:
    """Whether the library of the backend called `name` is here and cannot load such a model."""
    try:
        load_backend(name).layer_names(found.base, found.model)
    except ModelError:
        return not quantised(found.base)
    except BackendError:
        pass
    return False
