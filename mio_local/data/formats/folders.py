"""Folders of data files: which of them belong to a split."""

import re
from collections.abc import Collection
from pathlib import Path
from typing import Any

from mio_local.data.formats.json_values import parse
from mio_local.data.formats.opening import reading, uncompressed_name
from mio_local.errors import DataError, nearest

VALIDATION = ("valid", "validation", "val", "dev")
SPLITS = (("train", "training"), VALIDATION, ("test",), ("eval", "evaluation"))
KNOWN_SPLITS = frozenset(name for group in SPLITS for name in group)
NOT_DATA = {"dataset_info.json", "dataset_infos.json", "dataset_dict.json", "state.json", "config.json"}
SHARD = re.compile(r"[-_.]\d+([-_]of[-_]\d+)?([-_][0-9a-f]+)?$")


def files_of_split(folder: Path, suffixes: Collection[str], split: str) -> list[Path]:
    """The data files below `folder` named after `split`, in order, or all of them where none is named after a split.

    A file is named so itself (`valid.jsonl`, `validation-00000-of-00002.parquet`), or a folder that it is in is
    (`train/0000.parquet`). Raises DataError for no files, naming the splits that there are.
    """
    names = _split_names(folder, suffixes)
    if not names:
        raise DataError(f"{folder}: no data files in this folder; known are {', '.join(suffixes)}")
    if not (saved := _saved_splits(folder)) and not any(_leads(name) in KNOWN_SPLITS for name in names.values()):
        return list(names)
    accepted = next((group for group in SPLITS if split in group), (split,))
    chosen = [path for path in names if names[path] == split] or [path for path in names if names[path] in accepted]
    if not chosen:
        there = saved or sorted(set(names.values()))
        raise DataError(f"{folder}: no files for split {split}{nearest(split, there)}; there are {', '.join(there)}; "
                        "--set data.split=NAME")
    return chosen


def validation_split(folder: Path, suffixes: Collection[str]) -> str:
    """The name of the split that a folder has for held-out pairs beside one to train on, or an empty string."""
    there = set(_split_names(folder, suffixes).values())
    if there.isdisjoint(SPLITS[0]):
        return ""
    return next((name for name in VALIDATION if name in there), "")


def _split_names(folder: Path, suffixes: Collection[str]) -> dict[Path, str]:
    """The data files below `folder`, each with the name that tells its split."""
    found: dict[Path, str] = {}
    saved = _saved_splits(folder)
    shards: dict[Path, set[str] | None] = {}
    for path in sorted(folder.rglob("*")):
        inside = path.relative_to(folder).parts
        suffix = Path(uncompressed_name(path.name)).suffix.lower()
        if suffix not in suffixes or path.name in NOT_DATA or any(part.startswith(".") for part in inside):
            continue
        if path.is_symlink() and not path.exists():
            raise DataError(f"{path}: a link to a file that is not there")
        if not path.is_file():
            continue
        if suffix == ".arrow":
            if path.parent not in shards:
                shards[path.parent] = _saved_shards(path.parent)
            listed = shards[path.parent]
            if listed is not None and path.name not in listed:
                continue  # what map and filter keep beside the data
        stem = SHARD.sub("", uncompressed_name(path.name)[: -len(suffix)])
        above = next((part for part in reversed(inside[:-1]) if part in KNOWN_SPLITS), stem)
        found[path] = inside[0] if inside[0] in saved else stem if _leads(stem) in KNOWN_SPLITS else above
    return found


def _leads(name: str) -> str:
    return re.split(r"[-_.]", name)[0]


def _saved_splits(folder: Path) -> list[str]:
    """The splits that `DatasetDict.save_to_disk` wrote down."""
    told = _told(folder / "dataset_dict.json").get("splits")
    return list(map(str, told)) if isinstance(told, list) else []


def _saved_shards(folder: Path) -> set[str] | None:
    """The files that `Dataset.save_to_disk` wrote down; None where it wrote nothing here."""
    state = _told(folder / "state.json")
    if state.get("_indices_data_files"):
        raise DataError(f"{folder}: saved with an index beside its rows; save it anew with today's datasets")
    files = state.get("_data_files")
    if not isinstance(files, list):
        return None
    return {str(file.get("filename")) for file in files if isinstance(file, dict)}


def _told(file: Path) -> dict[str, Any]:
    if not file.is_file():
        return {}
    with reading(file):
        content = file.read_bytes()
    try:
        values = parse(content)
    except ValueError as error:
        raise DataError(f"{file}: {error}") from None
    return values if isinstance(values, dict) else {}
