"""The GGUF formats of `mio-local export`: a file, or one in the place where Ollama or LM Studio looks."""

import argparse
import re
import shlex
from dataclasses import dataclass
from pathlib import Path

from mio_local import printing
from mio_local.errors import RecipeError
from mio_local.evaluation.loading import Source
from mio_local.export.apps import lmstudio, ollama
from mio_local.export.choices import GGUF
from mio_local.export.gguf_export import Gguf, export_adapter_gguf, export_gguf
from mio_local.export.write import base_name
from mio_local.gguf_files.gguf_types import AUTO, check_kind
from mio_local.storage.paths import expanded
from mio_local.storage.writing import write_atomically
from mio_local.text import visible

NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")  # what both programs take


@dataclass(frozen=True)
class Wanted:
    """What was asked for: `to` one of GGUF, `kind` of file, `lora` the adapter alone."""

    to: str
    kind: str
    llama_cpp: str
    lora: bool
    name: str


def wanted(arguments: argparse.Namespace) -> Wanted | None:
    """What of GGUF is asked for; None for another format. Raises RecipeError, BackendError without the package."""
    if arguments.to not in GGUF:
        return None
    given = {"--quantize": arguments.quantize.lower(), "--gguf-type": arguments.gguf_type.lower()}
    if given["--gguf-type"] == AUTO:
        del given["--gguf-type"]
    kinds = {flag: kind for flag, kind in given.items() if kind}
    for flag, kind in kinds.items():
        check_kind(kind, flag)
    if len(set(kinds.values())) > 1:
        raise RecipeError(f"--gguf-type {arguments.gguf_type}: says another type than --quantize; give one of them")
    if arguments.name and arguments.to == "gguf":
        raise RecipeError(f"--name {arguments.name}: only with --to ollama or lmstudio; --out names a file")
    if arguments.name and not NAME.fullmatch(arguments.name):
        raise RecipeError(f"--name {arguments.name}: give letters, digits, and . _ - after the first")
    if arguments.to == "lmstudio" and arguments.out:
        raise RecipeError(f"--out {arguments.out}: LM Studio looks in one place only; leave it out, or take --to gguf")
    if arguments.to == "lmstudio" and arguments.adapter_only:
        raise RecipeError("--adapter-only: LM Studio loads whole models only; leave it out, or take --to ollama")
    kind = next(iter(kinds.values()), AUTO)
    return Wanted(arguments.to, kind, arguments.llama_cpp, arguments.adapter_only, arguments.name)


def main(found: Source, asked: Wanted, arguments: argparse.Namespace) -> int:
    """Export; 0 once the file is complete, agrees with the app's model, and is where it was to go."""
    name = asked.name or ollama.model_name(found.title)
    if asked.to == "ollama":
        ollama.check_free(name)
    place = _place(found, asked, name, arguments)
    text, beside = None, None
    if asked.to != "lmstudio":
        text = ollama.modelfile(found, found.base if asked.lora else place, place if asked.lora else None)
        beside = ollama.place_beside(place, text.text)
    if found.run and not arguments.out and asked.to != "lmstudio":
        for folder in (place.parents[1], place.parent) if asked.to == "ollama" else (place.parent,):
            folder.mkdir(exist_ok=True)  # and none above it: a run that was moved away is not begun anew
    out = printing.console()
    with printing.preparing(out) as report:
        write = export_adapter_gguf if asked.lora else export_gguf
        made = write(found, place, asked.kind, asked.llama_cpp, report)
        if text and beside:
            write_atomically(beside, text.text)
    _tell(out, found, asked, place, made)
    for note in text.notes if text else ():
        out.print(f"! {visible(note)}")
    if beside:
        out.print(f"{ollama.FILE}: {visible(str(beside))}")
    if asked.to == "ollama" and beside:
        return _into_ollama(out, name, beside)
    printing.next_steps(out, *_uses(found, asked, place, beside, name))
    return 0


def _tell(out: printing.Console, found: Source, asked: Wanted, place: Path, made: Gguf) -> None:
    what = ", the adapter alone, as gguf" if asked.lora else " as gguf"
    out.print(f"{visible(found.title)}{what}: {visible(str(place))}, {printing.size(place.stat().st_size)}")
    if not asked.lora:
        out.print(visible(made.check.line))
    out.print(f"{made.tensors} tensors, {made.how}")
    out.print(f"{'! ' if made.greedy.reason else ''}{visible(made.greedy.line)}")
    for note in made.notes:
        out.print(f"! {visible(note)}")


def _into_ollama(out: printing.Console, name: str, beside: Path) -> int:
    made = ollama.create(name, beside)
    if not made:
        out.print("! Ollama is not on PATH, so no model was made of it")
        at = visible(shlex.quote(str(beside)))
        printing.next_steps(out, f"ollama create {name} -f {at}", f"ollama run {name}")
        return 0
    out.print(f"Ollama has it as {name}, a copy of its own: {visible(str(beside.parent))} may go")
    printing.next_steps(out, f"ollama run {name}")
    return 0


def _place(found: Source, asked: Wanted, name: str, arguments: argparse.Namespace) -> Path:
    if arguments.out:
        return expanded(arguments.out, "--out").absolute()
    parts = [found.title, *[arguments.checkpoint] * (arguments.checkpoint != "final"), *["LoRA"] * asked.lora,
             *[asked.kind.upper()] * (asked.kind != AUTO)]  # fmt: skip
    file = f"{'-'.join(parts)}.gguf"
    if asked.to == "lmstudio":
        return lmstudio.place_for(name, file)
    if not found.run:
        folder = found.saved.folder.absolute()
        return folder.parent / (f"{folder.name}-ollama/{file}" if asked.to == "ollama" else file)
    return found.run.path / "exports" / ("ollama" if asked.to == "ollama" else "") / file


def _uses(found: Source, asked: Wanted, place: Path, beside: Path | None, name: str) -> list[str]:
    """The commands that run it."""
    at = visible(shlex.quote(str(place)))
    if asked.to == "lmstudio":
        return [f"lms load {visible(shlex.quote(lmstudio.key_of(place)))}", "lms chat"]
    made = f"ollama create {name} -f {visible(shlex.quote(str(beside)))}"
    if asked.lora:
        base = visible(base_name(found))
        return [f"llama-cli -m BASE.gguf --lora {at} -p '...'    # BASE.gguf: {base} as GGUF", made]
    return [f"llama-cli -m {at} -p '...'", made, f"lms import {at}    # LM Studio"]
