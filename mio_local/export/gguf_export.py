"""A run as a GGUF file: merged, compared, written or converted, quantised, read back, and its greedy text compared."""

import json
from dataclasses import dataclass, replace
from pathlib import Path

from mio_local.adapters.convert import write_adapter
from mio_local.data.tokenizer import load_tokenizer
from mio_local.errors import ModelError
from mio_local.evaluation.loading import Source
from mio_local.export.apps.greedy import Agreement, agreement, conversation_of, lacking
from mio_local.export.logits_check import Check, compare
from mio_local.export.write import PATTERN, base_name, check_place, export_merged
from mio_local.gguf_files.gguf_adapter import check_adapter, placed, write_adapter_gguf
from mio_local.gguf_files.gguf_config import NotHere
from mio_local.gguf_files.gguf_convert import (
    CHECKOUT,
    OUT_TYPES,
    SCRIPT,
    convert,
    convert_adapter,
    converter,
    found_converter,
    quantize,
    quantizer,
)
from mio_local.gguf_files.gguf_file import Layout, check_gguf, layout, metadata, write_gguf
from mio_local.gguf_files.gguf_types import AUTO, made_here, package
from mio_local.models.locate import quantised, read_config
from mio_local.models.weights import linear_names
from mio_local.progress import Report
from mio_local.recipe import ModelSettings
from mio_local.storage.json_files import read_json
from mio_local.storage.paths import building, expanded


@dataclass(frozen=True)
class Gguf:
    """A GGUF file: the `check` of the weights in it, how many tensors it has, `how` they were compared with those
    weights, `greedy` text beside the app's, and what llama.cpp does otherwise than the app."""

    check: Check
    tensors: int
    how: str
    greedy: Agreement
    notes: tuple[str, ...]


@dataclass(frozen=True)
class _Ways:
    """How a file comes about. `script`: llama.cpp's converter, in place of the `layout`, and `why` where nobody asked
    for it. `program`: llama-quantize."""

    layout: Layout | None
    script: Path | None = None
    why: str = ""
    program: Path | None = None


def export_gguf(source: Source, place: Path, kind: str, llama_cpp: str, report: Report) -> Gguf:
    """The merged weights as one file for llama.cpp, matrices as `kind`: auto, or one of `file_types`. With `llama_cpp`,
    by the converter of that checkout. What cannot be written is told before anything is merged."""
    package()
    ways = _writer(source, llama_cpp)
    if kind not in (OUT_TYPES if ways.script else (AUTO, *made_here())):
        ways = replace(ways, program=quantizer(kind, llama_cpp))
    template = _own_template(source)
    check_place(source, place)
    with building(place, place.name) as folder:
        # llama.cpp's converter calls the model by its folder
        merged, file = folder / f"{place.name}.merged" / PATTERN.sub("-", source.title), folder / place.name
        merged.parent.mkdir()
        merged.mkdir()
        export_merged(source, merged, 0, report)
        report("comparing with the app's model", 0, 0)
        check = compare(source, merged, place, source.open().name, adapter=False, loose=False)
        if template:
            _put_template(template, merged)
        number, how, notes = _write(source, ways, merged, file, kind, report)
        return Gguf(check, number, how, agreement(source, file, report), notes)


def _writer(source: Source, llama_cpp: str) -> _Ways:
    """The layout of the base's file or, where ours cannot write it or `llama_cpp` is given, llama.cpp's converter."""
    if llama_cpp:
        return _Ways(None, converter(llama_cpp))
    try:
        return _Ways(layout(source.base))
    except NotHere as error:
        if script := found_converter():
            return _Ways(None, script, f"{str(error).partition(';')[0]}, so {script} was taken")
        raise ModelError(f"{error}, or set {CHECKOUT} to one, or put its {SCRIPT} on PATH") from None


def _write(
    source: Source, ways: _Ways, merged: Path, file: Path, kind: str, report: Report
) -> tuple[int, str, tuple[str, ...]]:
    """The weights in `merged` as `file`: the number of tensors, how they were checked, and notes."""
    plain = file.with_name(f"{file.name}.plain") if ways.program else file
    first = AUTO if ways.program else kind
    if ways.script:
        report("converting by llama.cpp", 0, 0)
        number, how = convert(ways.script, merged, plain, first), "written by llama.cpp's own converter"
        notes = (ways.why,) if ways.why else ()
    else:
        made = layout(merged)
        write_gguf(made, merged, plain, first, source.title, report)
        number = check_gguf(made, merged, plain, metadata(made, source.title), report)
        rounding = "" if first == AUTO else f", but for the rounding of {first}"
        how, notes = f"read back and equal to the merged weights{rounding}", made.notes
    if ways.program:
        number = quantize(ways.program, plain, file, kind, report)
        how += f"; then quantised to {kind} by llama-quantize, as many tensors of the same shapes"
    return number, how, (*notes, *_asked_otherwise(source))


def _asked_otherwise(source: Source) -> list[str]:
    """Notes where the file's template asks otherwise than the run was trained, a line each."""
    if source.template == "none" and load_tokenizer(ModelSettings(name=str(source.base))).chat_template:
        return ["the run was trained without a chat template, and the file has the tokenizer's: give llama-cli "
                "--no-conversation"]  # fmt: skip
    if source.template_args:
        given = json.dumps(source.template_args, ensure_ascii=False)
        return [f"the template's arguments are not in the file: give llama-cli --chat-template-kwargs '{given}'"]
    return []


def _own_template(source: Source) -> str:
    """The template that the run was trained with, where that is a file of the user's; else "". Raises DataError."""
    if source.template in ("auto", "none"):
        return ""
    conversation_of(source)  # raises for one that cannot be used
    return expanded(source.template, "--template").read_text("utf-8-sig")


def _put_template(text: str, merged: Path) -> None:
    """Give the merged model this template, in the one place where all libraries look."""
    (merged / "chat_template.jinja").write_text(text, encoding="utf-8")
    if (file := merged / "tokenizer_config.json").exists():
        config = read_json(file)
        config.pop("chat_template", None)
        file.write_text(json.dumps(config, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def export_adapter_gguf(source: Source, place: Path, kind: str, llama_cpp: str, report: Report) -> Gguf:
    """The adapter alone as a file that llama.cpp lays over the base's. Raises ModelError and RecipeError for one that
    it has no such file for."""
    package()
    check_adapter(source.saved, kind)
    source.saved.check_claimed(linear_names(source.base))
    ways = _writer(source, llama_cpp)
    made, script = ways.layout, ways.script
    if made:
        placed(source.saved, made.plan, source.base)
    with building(place, place.name) as folder:
        file = folder / place.name
        if script or not made:
            assert script
            report("converting by llama.cpp", 0, 0)
            peft = folder / "peft"
            write_adapter(source.saved, "peft", peft, linear_names(source.base), base_name(source))
            number = convert_adapter(script, peft, source.base, file, "f32" if kind == AUTO else kind)
            how = "written by llama.cpp's own converter"
        else:
            number = write_adapter_gguf(source.saved, made.plan, source.base, file, kind, source.title, report)
            how = "read back and equal to the adapter" + (f", but for the rounding of {kind}" if kind != AUTO else "")
        reason = "the file is the adapter alone"
        return Gguf(Check(0.0, 0.0, "", reason), number, how, _adapter_text(source, made, file, report),
                    (ways.why,) if ways.why else ())  # fmt: skip


def _adapter_text(source: Source, made: Layout | None, file: Path, report: Report) -> Agreement:
    """The greedy text of the adapter's file on its base, which is written for that."""
    if reason := lacking():
        return Agreement(reason=reason)
    if made is None or quantised(source.base) or source.model.quantize:
        return Agreement(reason="its base is no GGUF file of ours")
    base = file.with_name(f"{file.name}.base")
    write_gguf(made, source.base, base, AUTO, read_config(source.base)["model_type"], report)
    return agreement(source, base, report, file)
