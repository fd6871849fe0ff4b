"""GGUF by programs of llama.cpp itself: its converters, for what `gguf_file` does not write, and its llama-quantize,
for the types that the gguf package does not make. They are children that write beside the target, and whose last words
are told where they fail.
"""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mio_local.errors import BackendError, ModelError, RecipeError, one_line
from mio_local.gguf_files.gguf_config import NotHere
from mio_local.gguf_files.gguf_file import layout
from mio_local.gguf_files.gguf_types import AUTO, package
from mio_local.models.locate import read_config
from mio_local.process import cores
from mio_local.progress import Report, silent
from mio_local.storage.paths import expanded

SCRIPT, OF_ADAPTERS, QUANTIZE = "convert_hf_to_gguf.py", "convert_lora_to_gguf.py", "llama-quantize"
CHECKOUT = "MIO_LOCAL_LLAMA_CPP"  # a checkout of llama.cpp, where --llama-cpp does not name one
OUT_TYPES = (AUTO, "f32", "f16", "bf16", "q8_0")  # what both converters write
COUNT = re.compile(rb"\[\s*(\d+)\s*/\s*(\d+)\]")  # llama-quantize's, before each tensor


def converter(checkout: str) -> Path:
    """The converter of a checkout of llama.cpp. Raises RecipeError where it is not there."""
    return _script(checkout, "--llama-cpp")


def found_converter() -> Path | None:
    """The converter of the checkout that the environment names, or the one on PATH. Raises RecipeError for an
    environment that names none."""
    if checkout := os.environ.get(CHECKOUT):
        return _script(checkout, CHECKOUT)
    found = shutil.which(SCRIPT)
    return Path(found).resolve() if found else None


def no_gguf(folder: Path) -> str:
    """Why the model in `folder` cannot be written as GGUF on this machine; "" where it can, or nobody can tell."""
    try:
        layout(folder)
        return ""
    except BackendError:  # the gguf package is not here
        return ""
    except NotHere as error:
        try:
            return "" if found_converter() else str(error)
        except RecipeError as wrong:
            return str(wrong)
    except ModelError as error:
        return str(error)


def _script(checkout: str, said: str) -> Path:
    script = expanded(checkout, said).absolute() / SCRIPT
    if not script.is_file():
        raise RecipeError(f"{said} {checkout}: has no {SCRIPT}; give a checkout of llama.cpp")
    return script


def quantizer(kind: str, checkout: str) -> Path:
    """llama-quantize: that of the checkout where it is built, else the one on PATH. Raises RecipeError for none."""
    checkout = checkout or os.environ.get(CHECKOUT, "")
    built = expanded(checkout, "--llama-cpp") / "build" / "bin" / QUANTIZE if checkout else None
    if built and os.access(built, os.X_OK):
        return built
    if found := shutil.which(QUANTIZE):
        return Path(found)
    raise RecipeError(f"--quantize {kind}: is made by llama.cpp's {QUANTIZE}, which is not on PATH; install llama.cpp "
                      "(brew install llama.cpp, or a release from github.com/ggml-org/llama.cpp), or take q8_0, which "
                      "needs neither")  # fmt: skip


def quantize(program: Path, plain: Path, file: Path, kind: str, report: Report = silent) -> int:
    """Make `file` of `kind` from `plain`, and see that it has the same tensors. Returns their number. Raises
    ModelError with the last line that llama-quantize wrote where it fails."""
    words = [str(program), str(plain), str(file), kind.upper(), str(cores())]
    process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL)
    said: list[str] = []
    try:
        assert process.stdout
        for line in process.stdout:
            said = [*said[-20:], line.decode("utf-8", "replace").strip()]
            if count := COUNT.match(line.strip()):
                report(f"quantising by {QUANTIZE}", int(count[1]), int(count[2]))
        code = process.wait()
    finally:
        process.kill()
        process.wait()
    if code:
        raise ModelError(f"{program}: failed: {_last(said, code)}")
    before, after = (_shapes(one, program) for one in (plain, file))
    if before != after:
        odd = min(name for name in before.keys() | after.keys() if before.get(name) != after.get(name))
        raise ModelError(f"{program}: wrote no usable file: its {odd} is not that of the model")
    return len(after)


def _shapes(file: Path, program: Path) -> dict[str, list[int]]:
    return {tensor.name: tensor.shape.tolist() for tensor in _opened(file, program).tensors}


def _opened(file: Path, program: Path) -> Any:
    try:
        return package().GGUFReader(file)
    except Exception as error:  # whatever the package raises for a file that is cut, empty, or something else
        raise ModelError(f"{program}: wrote no usable file: {type(error).__name__}: {one_line(error, 120)}") from None


def _last(said: Sequence[str], code: int) -> str:
    lines = [line.strip() for line in said if line.strip()] or [f"exit code {code}"]
    return lines[-1][:300]


def _run(script: Path, words: Sequence[str]) -> None:
    done = subprocess.run([sys.executable, str(script), *words], capture_output=True, text=True, errors="replace",
                          check=False, env={**os.environ, "TQDM_DISABLE": "1"})  # fmt: skip
    if done.returncode:
        raise ModelError(f"{script}: failed: {_last(done.stderr.splitlines(), done.returncode)}")


def convert(script: Path, folder: Path, file: Path, kind: str) -> int:
    """Run the converter over `folder`, and see that `file` is of that model. Returns the number of tensors. Raises
    ModelError with the last line that the converter wrote where it fails."""
    _run(script, [str(folder), "--outfile", str(file), "--outtype", kind])
    reader = _opened(file, script)
    found = {tensor.name: tensor for tensor in reader.tensors}.get("token_embd.weight")
    if found is None:
        raise ModelError(f"{script}: wrote no usable file: it has no token_embd.weight")
    tokens = found.shape[-1]
    _check(folder, file, reader, tokens)
    return len(reader.tensors)


def _check(folder: Path, file: Path, reader: Any, tokens: int) -> None:
    def said(key: str) -> Any:
        field = reader.get_field(key)
        return field and field.contents()

    config = read_config(folder)
    config = config.get("text_config") or config
    name = said("general.architecture")
    wanted, found = config.get("num_hidden_layers"), said(f"{name}.block_count")
    if wanted not in (None, found):
        raise ModelError(f"{file.name}: not published: it has {found} blocks, and the model {wanted}")
    if len(said("tokenizer.ggml.tokens") or ()) != tokens:
        raise ModelError(f"{file.name}: not published: its tokens are not as many as its embedding has rows, {tokens}")


def convert_adapter(script: Path, adapter: Path, base: Path, file: Path, kind: str) -> int:
    """Run the converter of adapters that lies beside `script` over `adapter`, a folder as PEFT reads it. Returns the
    number of tensors. Raises RecipeError where there is none, ModelError where it fails."""
    script = script.with_name(OF_ADAPTERS)
    if not script.is_file():
        raise RecipeError(f"--adapter-only: {script.parent} has no {OF_ADAPTERS}; give a checkout of llama.cpp with "
                          "--llama-cpp DIR")  # fmt: skip
    _run(script, [str(adapter), "--base", str(base), "--outfile", str(file), "--outtype", kind])
    if not (tensors := _opened(file, script).tensors):
        raise ModelError(f"{script}: wrote no usable file: it has no tensors")
    return len(tensors)
