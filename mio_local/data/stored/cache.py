"""Folders of the user's cache, by content: made beside their place, verified when they are read, the oldest removed."""

import contextlib
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from mio_local.paths import cache_folder

FORMAT = 1  # of what is kept; with another one nothing is found
KEPT = 12  # folders of a kind
META = "meta.json"
CHUNK = 1 << 22


def key_of(*parts: Any) -> str:
    """A name for what these parts make, which are JSON."""
    text = json.dumps([FORMAT, *parts], sort_keys=True, default=str)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def digest(file: Path) -> str:
    """Of a file's bytes. Raises OSError."""
    sha = hashlib.sha256()
    with file.open("rb") as handle:
        while chunk := handle.read(CHUNK):
            sha.update(chunk)
    return sha.hexdigest()


def content_of(source: Path) -> list[tuple[str, str]]:
    """(name, digest) of a file, or of all the files below a folder. Raises OSError."""
    if source.is_file():
        return [(source.name, digest(source))]
    files = sorted(file for file in source.rglob("*") if file.is_file())
    return [(source.name, ""), *((str(file.relative_to(source)), digest(file)) for file in files)]


def find(kind: str, key: str) -> tuple[Path, dict[str, Any]] | None:
    """The folder kept by that key, and its meta data; None where there is none, or one of its files is damaged."""
    if not key:
        return None
    folder = cache_folder() / kind / key
    try:
        seal, _, text = (folder / META).read_text(encoding="utf-8").partition("\n")
        if seal != _sealed(text):
            return None
        meta: dict[str, Any] = json.loads(text)
        files: dict[str, str] = meta["files"]
        if all(digest(folder / name) == expected for name, expected in files.items()):
            os.utime(folder)
            return folder, meta["meta"]
    except (OSError, ValueError, LookupError, TypeError):
        pass
    return None


def keep(kind: str, key: str, write: Callable[[Path], Mapping[str, Any]]) -> Path | None:
    """Have `write` fill a folder, which is then kept by that key with the meta data that it returns; None where the
    disk does not take it, or there is no key."""
    if not key:
        return None
    place = cache_folder() / kind / key
    made = None
    try:
        place.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        made = Path(tempfile.mkdtemp(prefix=".", dir=place.parent))  # of the user alone
        meta = write(made)
        files = {file.name: digest(file) for file in made.iterdir()}
        text = json.dumps({"files": files, "meta": meta})
        (made / META).write_text(f"{_sealed(text)}\n{text}", encoding="utf-8")
        shutil.rmtree(place, ignore_errors=True)  # a damaged one
        made.rename(place)
        _prune(place.parent)
    except OSError:
        return place if place.exists() else None  # another process kept the same
    finally:
        if made:
            shutil.rmtree(made, ignore_errors=True)
    return place


def _sealed(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _prune(folder: Path) -> None:
    with contextlib.suppress(OSError):
        found = sorted((each for each in folder.iterdir() if not each.name.startswith(".")), key=_age)
        for old in found[:-KEPT]:
            shutil.rmtree(old, ignore_errors=True)


def _age(folder: Path) -> float:
    return folder.stat().st_mtime
