"""Folders of the user's cache, by content: made beside their place, verified when they are read, the oldest removed."""

import contextlib
import functools
import hashlib
import json
import os
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from mio_local.errors import RunError
from mio_local.storage.digests import digest_of, text_digest
from mio_local.storage.paths import building, cache_folder
from mio_local.storage.writing import make_private, private_folder

KEPT = 12  # folders of a kind
META = "meta.json"


@functools.cache
def _code() -> str:
    """A digest of this room's own source: another version reads and tokenises in another way, and finds nothing."""
    sha = hashlib.sha256()
    for file in sorted(Path(__file__).parents[1].rglob("*.py")):
        sha.update(file.read_bytes())
    return sha.hexdigest()


def key_of(*parts: Any) -> str:
    """A name for what these parts make, which are JSON, by this code."""
    text = json.dumps([_code(), *parts], sort_keys=True, default=str)
    return text_digest(text)


def kept(kind: str, key: str, write: Callable[[Path], Mapping[str, Any]]) -> tuple[Path, dict[str, Any]] | None:
    """The folder that is kept by that key, and its meta data; where there is none, or a damaged one, `write` fills it
    and returns its meta data. None without a key, and where the disk does not take it."""
    if not key:
        return None
    place = cache_folder() / kind / key
    if (meta := _read(place)) is not None:
        return place, meta
    shutil.rmtree(place, ignore_errors=True)  # a damaged one
    try:
        private_folder(place.parent)
        with building(place) as made:
            meta = write(made)
            files = {file.name: digest_of(file) for file in made.iterdir()}
            text = json.dumps({"files": files, "meta": meta})
            (made / META).write_text(f"{text_digest(text)}\n{text}", encoding="utf-8")
            make_private(made)
        _prune(place.parent)
    except OSError:
        return None
    except RunError:  # another process has kept the same meanwhile
        meta = _read(place)
        return None if meta is None else (place, meta)
    return place, json.loads(text)["meta"]


def _read(folder: Path) -> dict[str, Any] | None:
    """The meta data of a folder whose files are what they were."""
    try:
        seal, _, text = (folder / META).read_text(encoding="utf-8").partition("\n")
        if seal != text_digest(text):
            return None
        known = json.loads(text)
        if all(digest_of(folder / name) == expected for name, expected in known["files"].items()):
            os.utime(folder)
            return known["meta"]
    except (OSError, ValueError, LookupError, TypeError):
        pass
    return None


def _prune(folder: Path) -> None:
    with contextlib.suppress(OSError):
        found = sorted((each for each in folder.iterdir() if not each.name.startswith(".")), key=_age)
        for old in found[:-KEPT]:
            shutil.rmtree(old, ignore_errors=True)


def _age(folder: Path) -> float:
    return folder.stat().st_mtime
