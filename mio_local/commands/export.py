"""`mio-local export RUN --to FORMAT`: files that other programs load, checked, and the commands that load them."""

import argparse
import shlex
from importlib.machinery import PathFinder
from pathlib import Path

from mio_local import printing
from mio_local.adapters.convert import evening
from mio_local.backends import load_backend
from mio_local.commands.ways_out import as_gguf
from mio_local.errors import BackendError, MioError, ModelError, RecipeError, RunError, nearest
from mio_local.evaluation.loading import Source, named
from mio_local.export.choices import FORMATS, GGUF
from mio_local.export.write import base_name, export
from mio_local.models.locate import quantised
from mio_local.models.shapes import known_shape
from mio_local.recipe import BackendSettings
from mio_local.runs.directory import runs_folder
from mio_local.storage.paths import expanded
from mio_local.text import visible

NAMES = {"torch": "PyTorch", "mlx_lm": "mlx-lm"}


def main(arguments: argparse.Namespace) -> int:
    """Export; 0 once the files are complete and agree with the app's model."""
    to = arguments.to
    if to not in FORMATS:
        raise RecipeError(f"--to {to}: no such format{nearest(to, FORMATS)}; there are {', '.join(FORMATS)}")
    gguf = as_gguf.wanted(arguments)
    bits = 0 if gguf else _bits(arguments)
    where = BackendSettings(device=arguments.device or "auto")
    found = named(runs_folder(arguments.runs), arguments.run, arguments.checkpoint, arguments.model, where)
    if not isinstance(found, Source):
        raise RunError(f"{arguments.run}: is a model without an adapter; there is nothing to export")
    if gguf:
        return as_gguf.main(found, gguf, arguments)
    out, place = printing.console(), _place(found, arguments)
    if found.run and not arguments.out:
        place.parent.mkdir(exist_ok=True)  # and none above it: a run that was moved away is not begun anew
    with printing.preparing(out) as report:
        check = export(found, to, place, bits, report)
    out.print(f"{visible(found.title)} as {to}: {visible(str(place))}")
    out.print(visible(check.line))
    if to == "mlx" and (evened := evening(found.saved)):
        out.print(evened)
    printing.next_steps(out, *_uses(found, to, place, bits))
    return 0


def _bits(arguments: argparse.Namespace) -> int:
    """How many bits a merged model is quantised to; 0 for none. Raises RecipeError for what no other format takes."""
    for flag, default in (("gguf_type", "auto"), ("llama_cpp", ""), ("adapter_only", False), ("name", "")):
        if (value := getattr(arguments, flag)) != default:
            words = f"--{flag.replace('_', '-')}{'' if value is True else f' {value}'}"
            raise RecipeError(f"{words}: only with --to {', '.join(GGUF[:-1])} or {GGUF[-1]}")
    if arguments.quantize and (arguments.to != "merged" or arguments.quantize not in ("4", "8")):
        raise RecipeError(f"--quantize {arguments.quantize}: a merged model is quantised, to 4 or 8 bits, and --to "
                          f"{GGUF[0]} to q8_0 and others; --to {arguments.to} takes "
                          f"{'4 or 8' if arguments.to == 'merged' else 'none'}")  # fmt: skip
    return int(arguments.quantize or 0)


def _place(found: Source, arguments: argparse.Namespace) -> Path:
    if arguments.out:
        return expanded(arguments.out, "--out").absolute()
    name = arguments.to
    name += "" if arguments.checkpoint == "final" else f"-{arguments.checkpoint}"
    name += f"-{arguments.quantize}bit" if arguments.quantize else ""
    return found.run.path / "exports" / name if found.run else Path(f"{found.saved.folder.absolute()}-{name}")


def _uses(found: Source, to: str, place: Path, bits: int) -> list[str]:
    """The commands that load it; a model that is quantised again is its own library's alone."""
    at, base = (visible(shlex.quote(str(value))) for value in (place, base_name(found)))
    if to == "mlx":
        return [_if_there(f"mlx_lm.generate --model {base} --adapter-path {at} --prompt '...'", "mlx_lm")]
    if to == "peft":
        return [_if_there(printing.with_peft(_loader(found.base), base_name(found), place), "torch")]
    by_library = {
        "mlx": _if_there(f"mlx_lm.generate --model {at} --prompt '...'", "mlx_lm"),
        "cuda": _if_there(
            printing.in_python("transformers", _loader(found.base) or "AutoModelForCausalLM", place), "torch"
        ),
    }
    shape, own = known_shape(found.base), found.open().name
    was_quantised = found.model.quantize or quantised(found.base)
    # experts out of a quantised base are written as its own library stacks them
    alone = bits or (was_quantised and shape is not None and shape.experts > 1)
    return [text for name, text in by_library.items() if name == own or not (alone or _unknown(name, found))]


def _if_there(command: str, package: str) -> str:
    """The command, with a remark where what it needs is not here."""
    there = PathFinder.find_spec(package)  # whatever this process leaves out of its own imports
    return command if there else f"{command}  # needs {NAMES[package]}, which is not installed here"


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
