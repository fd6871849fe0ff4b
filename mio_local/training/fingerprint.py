"""What names a reference: the content of model and adapter, and all else that its numbers depend on."""

import contextlib
import hashlib
import json
import math
import re
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mio_local.adapters.adapter import SavedAdapter
from mio_local.adapters.terms import scale_of
from mio_local.backends import Backend, Device
from mio_local.errors import ModelError
from mio_local.process import cores, threads
from mio_local.progress import Report, silent
from mio_local.recipe import Recipe
from mio_local.storage.digests import OF_ITSELF, is_whole, sealed
from mio_local.storage.json_files import read_json
from mio_local.storage.paths import cache_folder
from mio_local.storage.writing import PRIVATE, private_folder, write_atomically
from mio_local.training.optimizations import SCORED

FORMAT = 4  # of the values kept under a name: a higher one leaves all earlier values behind
CONTENT = ("*.safetensors", "config.json", "*.py")  # a model's own code changes its numbers too
DIGEST = re.compile(r"[0-9a-f]{64}")
BIG = 1 << 20  # bytes; what is smaller is read anew each time
PART = 1 << 25  # bytes read between two reports
SETTLED = 2 * 10**9  # ns since the last change; within a file system's tick another one would leave the same time

Memo = dict[str, list[Any]]  # resolved path: [*its mark, its digest]
_READ: Memo = {}  # by this process, which may have no cache folder that it can write to


def fingerprint(
    place: Path, adapter: SavedAdapter | None, settings: Mapping[str, str], report: Report = silent
) -> str:
    """The name of a reference, 64 hex digits: the model in `place`, the adapter that training continues from (None for
    a fresh one, which has no effect), and the settings that change its numbers. Where the files lie does not matter.

    `report` hears of the bytes read. Raises ModelError for a folder without weights, or a file that cannot be read.
    """
    files = sorted(file for pattern in CONTENT for file in place.glob(pattern))
    if not any(file.suffix == ".safetensors" for file in files):
        raise ModelError(f"{place}: no weights (*.safetensors) in this model folder")
    model = _digests(place, files, report)
    named = {"format": FORMAT, "model": model, "adapter": _adapter(adapter), "settings": dict(settings)}
    return hashlib.sha256(json.dumps(named, sort_keys=True).encode()).hexdigest()


def reference_name(
    recipe: Recipe, backend: Backend, device: Device, place: Path, initial: SavedAdapter | None, savings: Sequence[str],
    report: Report,
) -> str:  # fmt: skip
    """`fingerprint` of a run's reference: with the savings, versions and settings that change its numbers."""
    settings = {"device": device.kind, "dtype": recipe.model.dtype, "quantize": str(recipe.model.quantize)}
    if device.kind == "cpu":  # its parts of a batch go by these
        settings |= {"checkpoint": str(recipe.train.grad_checkpoint), "dropout": str(recipe.lora.dropout > 0)}
        settings |= {"cores": str(threads() if backend.name == "cuda" else cores())}
    settings |= {"dora": str(recipe.lora.dora), "levers": " ".join(key for key in savings if key in SCORED)}
    return fingerprint(place, initial, {**settings, **backend.versions}, report)


def weights_digest(place: Path, report: Report = silent, *, anew: bool = False) -> str:
    """A name of the weights in `place`, 64 hex digits: fine-tunes of one model have files of the same sizes. `report`
    hears of the bytes read, which are those of files that changed since they were last, or all of them, `anew`. Raises
    ModelError."""
    found = _digests(place, sorted(place.glob("*.safetensors")), report, anew=anew)
    return hashlib.sha256(json.dumps(found, sort_keys=True).encode()).hexdigest()


def adapter_digest(adapter: SavedAdapter) -> str:
    """A name of an adapter's content, 64 hex digits; where it lies, and in which format, does not matter."""
    return hashlib.sha256(json.dumps(_adapter(adapter), sort_keys=True).encode()).hexdigest()


def _adapter(adapter: SavedAdapter | None) -> dict[str, Any] | None:
    if adapter is None:
        return None
    weights = {
        name: [str(weight.dtype), list(weight.shape), hashlib.sha256(np.ascontiguousarray(weight).data).hexdigest()]
        for name, weight in adapter.weights.items()
    }
    # a rank-stabilised one by the alpha of the same scale
    alpha = adapter.alpha * math.sqrt(adapter.rank) if adapter.rslora else adapter.alpha
    found: dict[str, Any] = {"rank": adapter.rank, "alpha": alpha, "dora": adapter.dora, "weights": weights}
    if adapter.rank_pattern or adapter.alpha_pattern:
        found["scales"] = {name: scale_of(adapter, name) for name in adapter.names}
    return found


def _digests(place: Path, files: Sequence[Path], report: Report, *, anew: bool = False) -> dict[str, str]:
    """`_read_digests`, where a file that cannot be read is a ModelError."""
    try:
        return _read_digests(files, report, anew=anew)
    except OSError as error:
        raise ModelError(f"{error.filename or place}: cannot be read: {error.strerror or error}") from None


def _read_digests(files: Sequence[Path], report: Report, *, anew: bool) -> dict[str, str]:
    """sha256 of each file's content by the file's name; read is only what is not known yet."""
    memo_file = cache_folder() / "digests.json"
    memo, new = _read_memo(memo_file) | _READ, Memo()
    digests: dict[str, str] = {}
    unread: list[Path] = []
    for file in files:
        real = file.resolve(strict=True)
        known = memo.get(str(real))
        if anew:
            unread.append(file)
        elif file.is_symlink() and real.parent.name == "blobs" and DIGEST.fullmatch(real.name):
            digests[file.name] = real.name  # the hub's cache calls large files by their digest
        elif known and known[:-1] == _mark(real):
            digests[file.name] = known[-1]
        else:
            unread.append(file)
    done, total = 0, sum(file.stat().st_size for file in unread)
    for file in unread:
        sha, before = hashlib.sha256(), _mark(file)
        settled = time.time_ns() - before[2] > SETTLED
        with file.open("rb") as opened:
            while part := opened.read(PART):  # hashlib.file_digest would not say how far it is
                sha.update(part)
                done += len(part)
                report("reading the model's weights", done, total)
        digests[file.name] = sha.hexdigest()
        if before[0] >= BIG and settled and _mark(file) == before:
            new[str(file.resolve())] = [*before, digests[file.name]]
    if new:
        _READ.update(new)
        with contextlib.suppress(OSError):  # the next start reads the files again
            private_folder(memo_file.parent)
            write_atomically(memo_file, json.dumps(sealed(_read_memo(memo_file) | new)), PRIVATE)
    return digests


def _mark(file: Path) -> list[int]:
    """Size, mtime and ctime: another content has another mark. A copy may set mtime back, nothing can set ctime."""
    stat = file.stat()
    return [stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns]


def _read_memo(file: Path) -> Memo:
    """The digests remembered, without what is damaged."""
    try:
        memo = read_json(file)
    except (OSError, ValueError):
        return {}
    if not isinstance(memo, dict) or OF_ITSELF not in memo or not is_whole(memo):
        return {}
    return {path: known for path, known in memo.items() if _whole(known)}


def _whole(known: Any) -> bool:
    return isinstance(known, list) and bool(known) and isinstance(known[-1], str) and bool(DIGEST.fullmatch(known[-1]))
