"""Models and datasets to choose from: models on this disk, and what the Hugging Face hub offers.

Whatever a hub or a cache says (names, licences, configurations) is data: it is returned as it came and never trusted.
The hub's client is imported when it is needed, for that takes a quarter of a second.
"""

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatch
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

from mio_local.errors import ModelError
from mio_local.models.locate import WANTED, hub_error, read_config

TIMEOUT = 10.0  # seconds for each of connecting and reading: somebody looks at a screen and waits
TYPES = {"float32": "f32", "bfloat16": "bf16", "float16": "f16", "F32": "f32", "BF16": "bf16", "F16": "f16"}
BITS = {"f32": 32.0, "bf16": 16.0, "f16": 16.0, "8-bit": 8.5, "4-bit": 4.5}  # a weight, with the scales of groups of 64
BYTES = {"64": 8, "32": 4, "16": 2, "8": 1, "E4M3": 1, "E5M2": 1, "BOOL": 1}  # by the end of a safetensors type's name
SHA256 = re.compile(r"[0-9a-f]{64}")
SHARD = re.compile(r"-of-(\d+)\.safetensors$")


@dataclass(frozen=True)
class ModelCard:
    """What the model list shows of one model."""

    name: str  # as the recipe's model.name takes it: a hub name, or a folder
    folder: Path | None = None  # on this disk
    complete: bool = False  # False for a download that broke off, and for what is only on the hub
    size: int = 0  # bytes of the files a download takes, or that have arrived so far; 0 is unknown
    parameters: int = 0  # estimated from the size for a quantised model; 0 is unknown
    quant: str = ""  # bf16, f16, f32, 8-bit, 4-bit, ...; empty is unknown
    licence: str = ""
    downloads: int = 0
    gated: bool = False
    config: dict[str, Any] = field(default_factory=dict[str, Any])  # config.json, or what a search gives of it

    @property
    def on_disk(self) -> bool:
        """Whether there is a folder of it here, complete or not."""
        return self.folder is not None


@dataclass(frozen=True)
class DataCard:
    """What the dataset list shows of one dataset on the hub."""

    name: str
    rows: int = 0  # of the first configuration, all splits; 0 is unknown
    licence: str = ""
    downloads: int = 0
    gated: bool = False


class HubFile(NamedTuple):
    """A file of a model on the hub."""

    name: str
    size: int  # bytes
    sha256: str  # hexadecimal; empty for a small file, which git keeps


def on_disk(folders: Sequence[Path] = ()) -> list[ModelCard]:
    """The causal language models with safetensors weights on this disk, the last used first.

    Looks in the hub's cache and in `folders`, each a model's folder or a folder of them. What cannot be read, and
    what is no such model, is left out; a download that broke off is there with `complete` False.
    """
    from huggingface_hub import constants

    found = list(_in_cache(Path(constants.HF_HUB_CACHE)))
    for place in dict.fromkeys(os.path.realpath(os.path.expanduser(folder)) for folder in folders):
        entries = _entries(Path(place))
        below = [Path(place)] if "config.json" in entries else sorted(entries.values())
        found += [(str(path), path, 0) for path in below]
    cards = [card for place in found if (card := _card(*place))]
    return [card for _, card in sorted(cards, key=lambda pair: -pair[0])]


def _in_cache(cache: Path) -> Iterator[tuple[str, Path, int]]:
    """Name and snapshot of every model in the hub's cache, and the bytes of files that are here in part."""
    for entry, repository in _entries(cache).items():
        snapshots = _entries(repository / "snapshots") if entry.startswith("models--") else {}
        if not snapshots:
            continue
        try:
            commit = (repository / "refs" / "main").read_text(encoding="utf-8").strip()
        except (OSError, ValueError):
            commit = ""
        snapshot = snapshots.get(commit) or max(snapshots.values(), key=_changed)
        blobs = _entries(repository / "blobs")
        parts = [path for blob, path in blobs.items() if blob.endswith(".incomplete")]
        begun = sum(stat.st_size for part in parts if (stat := _stat(part)))
        yield entry.removeprefix("models--").replace("--", "/"), snapshot, begun


def _card(name: str, folder: Path, begun: int) -> tuple[float, ModelCard] | None:
    """When it was last used, in seconds since 1970, and its card; None where this is no causal language model."""
    try:
        config = read_config(folder)
    except ModelError:
        return None
    files = {file: path for file, path in _entries(folder).items() if _wanted(file)}
    stats = {file: _stat(path) for file, path in files.items()}
    weights = {file: stat for file, stat in stats.items() if file.endswith(".safetensors")}
    if not _is_causal(config) or not (weights or begun or "model.safetensors.index.json" in files):
        return None
    there = [stat for stat in weights.values() if stat]
    shards = {int(match[1]) for file in weights if (match := SHARD.search(file))}
    complete = bool(there) and None not in stats.values() and all(count <= len(there) for count in shards)
    size = sum(stat.st_size for stat in stats.values() if stat)
    quant = _quant(config)
    card = ModelCard(
        name, folder, complete, size if complete else size + begun, config=config, quant=quant,
        parameters=_parameters(sum(stat.st_size for stat in there), quant) if complete else 0,
    )  # fmt: skip
    return max((max(stat.st_atime, stat.st_mtime) for stat in there), default=_changed(folder)), card


def search(query: str, limit: int = 50) -> list[ModelCard]:
    """Text generation models with safetensors weights on the hub whose names hold `query`, the most loaded first.

    Sizes are estimated from the number of weights of each type. Raises HubError.
    """
    answer = _ask(
        "hub search", "/api/models", search=query, pipeline_tag="text-generation", filter="safetensors",
        sort="downloads", limit=limit, expand=["safetensors", "gated", "downloads", "tags", "config"],
    )  # fmt: skip
    return [_hub_card(info) for info in _dicts(answer)[:limit]]


def look(name: str, revision: str = "") -> ModelCard:
    """One model on the hub with its files' size and its whole config.json, nothing stored. Raises HubError."""
    info = ask_for_files(name, revision)
    path = f"/{name}/resolve/{quote(str(info.get('sha') or 'main'), safe='')}/config.json"
    config = _ask(name, path) if any(file.name == "config.json" for file in wanted_files(info)) else {}
    return _hub_card(info | {"config": config})


def search_data(query: str, limit: int = 50) -> list[DataCard]:
    """Datasets on the hub whose names hold `query`, the most loaded first. Raises HubError."""
    answer = _ask(
        "hub search", "/api/datasets", search=query, sort="downloads", limit=limit,
        expand=["gated", "downloads", "tags", "cardData"],
    )  # fmt: skip
    return [
        DataCard(
            str(info.get("id", "")), rows=_rows(info), licence=_licence(info), downloads=_count(info, "downloads"),
            gated=bool(info.get("gated")),
        )
        for info in _dicts(answer)[:limit]
    ]  # fmt: skip


def ask_for_files(name: str, revision: str = "") -> dict[str, Any]:
    """The hub's account of a model, with the size and hash of each file. Raises HubError."""
    from huggingface_hub.utils import validate_repo_id

    try:
        validate_repo_id(name)
    except ValueError as error:
        raise hub_error(error, name) from None
    path = f"/api/models/{name}" + (f"/revision/{quote(revision, safe='')}" if revision else "")
    return _one(_ask(name, path, revision, blobs=True))


def wanted_files(info: Mapping[str, Any]) -> list[HubFile]:
    """The files that a download takes, of what `ask_for_files` returned."""
    found: list[HubFile] = []
    for file in _dicts(info.get("siblings")):
        digest = str(_one(file.get("lfs")).get("sha256"))
        name = str(file.get("rfilename", ""))
        found.append(HubFile(name, _count(file, "size"), digest if SHA256.fullmatch(digest) else ""))
    return [file for file in found if _wanted(file.name)]


def _ask(name: str, path: str, revision: str = "", **parameters: Any) -> Any:
    """The JSON at a path of the hub. The client's own listing would wait without end, and retry for a minute."""
    from huggingface_hub import constants, get_session
    from huggingface_hub.utils import build_hf_headers, hf_raise_for_status

    kind = "dataset" if path.startswith("/api/datasets") else "model"
    try:
        answer = get_session().get(
            constants.ENDPOINT + path, params=parameters, headers=build_hf_headers(), timeout=TIMEOUT
        )
        hf_raise_for_status(answer)
        return answer.json()
    except Exception as error:
        raise hub_error(error, name, revision, kind) from None


def _hub_card(info: dict[str, Any]) -> ModelCard:
    tensors = _one(_one(info.get("safetensors")).get("parameters"))
    counts = {kind: _count(tensors, kind) for kind in tensors}
    config = _one(info.get("config"))
    commonest = max(counts, key=lambda kind: counts[kind], default="")
    quant = _quant(config, _tags(info)) or TYPES.get(commonest, "")
    stored = sum(count * _item_size(kind) for kind, count in counts.items())
    files = sum(file.size for file in wanted_files(info))
    return ModelCard(
        str(info.get("id", "")), size=files or stored, quant=quant, licence=_licence(info), config=config,
        parameters=sum(counts.values()) if quant in TYPES.values() else _parameters(stored, quant),
        downloads=_count(info, "downloads"), gated=bool(info.get("gated")),
    )  # fmt: skip


def _quant(config: Mapping[str, Any], tags: Sequence[str] = ()) -> str:
    """The weights' type or width: by MLX's key, transformers' key, the hub's tags, or the type in config.json."""
    for key in ("quantization", "quantization_config"):
        given = _one(config.get(key))
        bits = _count(given, "bits") or 4 * bool(given.get("load_in_4bit")) or 8 * bool(given.get("load_in_8bit"))
        if bits:
            return f"{bits}-bit"
    if widths := [tag for tag in tags if tag in BITS and tag not in TYPES.values()]:
        return widths[0]
    return TYPES.get(str(config.get("dtype") or config.get("torch_dtype")), "")


def _parameters(size: int, quant: str) -> int:
    return round(size * 8 / BITS[quant]) if quant in BITS else 0


def _item_size(kind: str) -> int:
    """Bytes of one item of a safetensors type, such as 2 of BF16."""
    return next((size for ending, size in BYTES.items() if kind.endswith(ending)), 0)


def _is_causal(config: Mapping[str, Any]) -> bool:
    named = config.get("architectures")
    names = [str(name) for name in named] if isinstance(named, list) else []
    return not names or any("CausalLM" in name or "LMHead" in name for name in names)


def _wanted(file: str) -> bool:
    return any(fnmatch(file, pattern) for pattern in WANTED)


def _tags(info: Mapping[str, Any]) -> list[str]:
    tags = info.get("tags")
    return [str(tag) for tag in tags] if isinstance(tags, list) else []


def _licence(info: Mapping[str, Any]) -> str:
    return next((tag.removeprefix("license:") for tag in _tags(info) if tag.startswith("license:")), "")


def _rows(info: Mapping[str, Any]) -> int:
    described = _one(info.get("cardData")).get("dataset_info")
    first = (_dicts(described) or [{}])[0] if isinstance(described, list) else _one(described)
    return sum(_count(split, "num_examples") for split in _dicts(first.get("splits")))


def _one(value: Any) -> dict[str, Any]:
    """A JSON object, or an empty one where the answer holds something else."""
    return value if isinstance(value, dict) else {}


def _dicts(value: Any) -> list[dict[str, Any]]:
    """The JSON objects of a list, or none where the answer holds something else."""
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def _count(value: Mapping[str, Any], key: str) -> int:
    number = value.get(key)
    return int(number) if isinstance(number, int | float) and number > 0 else 0


def _entries(folder: Path) -> dict[str, Path]:
    """What a folder holds, by name; nothing where it cannot be read."""
    try:
        return {name: folder / name for name in os.listdir(folder)}
    except OSError:
        return {}


def _stat(path: Path) -> os.stat_result | None:
    """Of what a link leads to; None where it leads nowhere."""
    try:
        return path.stat()
    except OSError:
        return None


def _changed(path: Path) -> float:
    stat = _stat(path)
    return stat.st_mtime if stat else 0.0
