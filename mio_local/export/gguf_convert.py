"""A folder of weights as GGUF by llama.cpp's own converter, for what `gguf_file` does not write."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from mio_local.errors import ModelError, RecipeError, one_line
from mio_local.export.gguf_file import package
from mio_local.models.locate import read_config
from mio_local.storage.paths import expanded

SCRIPT = "convert_hf_to_gguf.py"


def converter(checkout: str) -> Path:
    """The converter of a checkout of llama.cpp. Raises RecipeError where it is not there."""
    script = expanded(checkout, "--llama-cpp").absolute() / SCRIPT
    if not script.is_file():
        raise RecipeError(f"--llama-cpp {checkout}: has no {SCRIPT}; give a checkout of llama.cpp")
    return script


def convert(script: Path, folder: Path, file: Path, kind: str) -> int:
    """Run the converter over `folder`, and see that `file` is of that model. Returns the number of tensors. Raises
    ModelError with the last line that the converter wrote where it fails."""
    words = [sys.executable, str(script), str(folder), "--outfile", str(file), "--outtype", kind]
    done = subprocess.run(words, capture_output=True, text=True, check=False, env={**os.environ, "TQDM_DISABLE": "1"})
    if done.returncode:
        said = [line.strip() for line in done.stderr.splitlines() if line.strip()] or [f"exit code {done.returncode}"]
        raise ModelError(f"{script}: failed: {said[-1][:300]}")
    try:
        reader = package().GGUFReader(file)
        tokens = {tensor.name: tensor for tensor in reader.tensors}["token_embd.weight"].shape[-1]
    except Exception as error:  # whatever the package raises for a file that is cut, empty, or something else
        raise ModelError(f"{script}: wrote no usable file: {type(error).__name__}: {one_line(error, 120)}") from None
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
