"""A model folder's weights, read and written tensor by tensor, with what else lies beside them."""

import json
import re
import shutil
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from mio_local.errors import ModelError, one_line
from mio_local.models.tensors import open_tensors
from mio_local.progress import Report, silent
from mio_local.storage.json_files import read_json

BLOCK = re.compile(r"^(?P<stem>.*?)\.(?P<index>\d+)\.(?P<leaf>.+)$")  # a layer in a numbered block
SHARD = 5_000_000_000  # bytes of a file of weights, as transformers cuts them
BESIDE = ("*.json", "*.jinja", "*.txt", "*.model", "*.tiktoken", "*.py", "LICENSE*")
INDEX = "model.safetensors.index.json"


def weight_files(folder: Path) -> list[Path]:
    """The files that hold the weights: the index's, else model.safetensors, else all there are."""
    if (index := folder / INDEX).exists():
        try:
            named = {str(name) for name in read_json(index)["weight_map"].values()}
            if away := [name for name in named if Path(name).name != name]:
                raise ValueError(f"{away[0]} is not in this folder")
        except (OSError, ValueError, KeyError, AttributeError, TypeError) as error:
            raise ModelError(f"{index}: damaged ({one_line(error, 80)}); download the model again") from None
        return sorted(folder / name for name in named)
    single = folder / "model.safetensors"
    return [single] if single.exists() else sorted(folder.glob("*.safetensors"))


def stored_weights(folder: Path) -> tuple[list[str], Iterator[tuple[str, np.ndarray]]]:
    """Names of the weights in `folder`, and the weights in that order, each as stored. Raises ModelError."""
    from safetensors import SafetensorError

    places: list[tuple[Path, str]] = []
    for file in weight_files(folder):
        try:
            with open_tensors(file) as tensors:
                places += [(file, name) for name in tensors.keys()]  # noqa: SIM118 - a handle, not a dict
        except (SafetensorError, OSError) as error:
            raise ModelError(f"{file}: cut or damaged ({one_line(error, 80)}); download the model again") from None

    def read() -> Iterator[tuple[str, np.ndarray]]:
        for file, name in places:
            with open_tensors(file) as tensors:
                yield name, tensors.get_tensor(name)

    return [name for _, name in places], read()


def stored_shapes(folder: Path) -> list[tuple[str, tuple[int, ...], str]]:
    """Name, shape and type (F32, BF16, ...) of the weights in `folder`, in the order of `stored_weights`."""
    found: list[tuple[str, tuple[int, ...], str]] = []
    for file in weight_files(folder):
        with open_tensors(file) as tensors:
            for name in tensors.keys():  # noqa: SIM118 - a handle, not a dict
                part = tensors.get_slice(name)
                found.append((name, tuple(part.get_shape()), part.get_dtype()))
    return found


def linear_names(folder: Path) -> list[str]:
    """Layers inside numbered blocks whose weight is a matrix: those that an adapter can be on."""
    matrices = (name.rpartition(".") for name, shape, _ in stored_shapes(folder) if len(shape) == 2)
    return [layer for layer, _, leaf in matrices if leaf == "weight" and BLOCK.match(layer)]


def write_weights(weights: Iterable[tuple[str, np.ndarray]], folder: Path, total: int, report: Report = silent) -> None:
    """Write `total` tensors into `folder`: one file, or several of at most SHARD bytes and an index."""
    from safetensors.numpy import save_file

    shards, part, size, where = 0, dict[str, np.ndarray](), 0, dict[str, int]()

    def flush() -> None:
        nonlocal shards, part, size
        save_file(part, folder / f"{shards}.safetensors", {"format": "pt"})
        where.update(dict.fromkeys(part, shards))
        shards, part, size = shards + 1, {}, 0

    for done, (name, weight) in enumerate(weights, 1):
        if part and size + weight.nbytes > SHARD:
            flush()
        part[name], size = np.asarray(weight, order="C"), size + weight.nbytes  # a scalar keeps its shape
        report("writing weights", done, total)
    flush()
    final = [f"model-{i + 1:05}-of-{shards:05}.safetensors" for i in range(shards)]
    final = final if shards > 1 else ["model.safetensors"]
    for number, file_name in enumerate(final):
        (folder / f"{number}.safetensors").rename(folder / file_name)
    if shards > 1:
        index = {"metadata": {}, "weight_map": {name: final[number] for name, number in sorted(where.items())}}
        (folder / INDEX).write_text(json.dumps(index, indent=2) + "\n", encoding="utf-8")


def copy_beside(base: Path, folder: Path, change: Callable[[dict[str, Any]], None]) -> None:
    """Copy the config, the tokenizer and the licence; `change` may alter the config."""
    for pattern in BESIDE:
        for file in base.glob(pattern):
            if file.name != INDEX and file.is_file():
                shutil.copyfile(file, folder / file.name)
    config = read_json(folder / "config.json")
    change(config)
    (folder / "config.json").write_text(json.dumps(config, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
