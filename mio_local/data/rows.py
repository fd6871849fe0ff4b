"""Rows of a dataset: local JSONL, JSON, CSV, TSV and Parquet files, folders of them, and hub datasets.

Every source gives the same thing, an iterator of `Row`: the values by column, and where they stand in the source.
What a row means (which column is the prompt) is the business of `layouts`.
"""

import csv
import gzip
import io
import json
import re
import zlib
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from mio_local.errors import DataError, HubError, nearest, one_line
from mio_local.paths import expanded
from mio_local.text import kind_name

SPLITS = (("train", "training"), ("valid", "validation", "val", "dev"), ("test",), ("eval", "evaluation"))
NOT_DATA = {"dataset_info.json", "dataset_infos.json", "dataset_dict.json", "state.json", "config.json"}
SHARD = re.compile(r"[-_.]\d+([-_]of[-_]\d+)?([-_][0-9a-f]+)?$")


@dataclass(frozen=True)
class Row:
    """One row: its values by column, and its place (`train.jsonl line 17`, `demo.json row 3`)."""

    values: dict[str, Any]
    where: str


def read_rows(source: str, *, split: str = "train", revision: str = "") -> Iterator[Row]:
    """The rows of a file, of a folder, or of a hub dataset (`org/name`, or `org/name:config`), in order.

    `split` chooses among the files of a folder that are named after splits, and is the split of a hub dataset;
    `revision` is a hub branch, tag or commit. Raises `DataError` naming file and line, or `HubError`.
    """
    if not source:
        raise DataError("no preference pairs given: pass --data with a file, a folder or a hub dataset")
    path = expanded(source, "--data")
    if path.is_dir():
        return _folder(path, split)
    if path.exists():
        return _file(path, path.name, split)
    if source[0] in "./~\\" or _suffix(path):
        raise DataError(f"{source}: no such file")
    return _hub(source, split, revision)


def _suffix(path: Path) -> str:
    """The known data suffix of a file name, without `.gz`, or an empty string."""
    suffix = Path(path.name.lower().removesuffix(".gz")).suffix
    return suffix if suffix in READERS else ""


def _file(path: Path, name: str, split: str) -> Iterator[Row]:
    suffix = _suffix(path)
    if not suffix:
        known = ", ".join(READERS)
        raise DataError(f"{path}: unknown kind of file; known are {known}, and .gz of the text ones")
    empty = True
    with _reading(path):
        for row in READERS[suffix](path, name, split):
            empty = False
            yield row
    if empty:
        raise DataError(f"{path}: holds no rows")


def _folder(folder: Path, split: str) -> Iterator[Row]:
    files = [
        path
        for path in sorted(folder.rglob("*"))
        if _suffix(path) and path.is_file() and path.name not in NOT_DATA
        and not any(part.startswith(".") for part in path.relative_to(folder).parts)
    ]
    if not files:
        raise DataError(f"{folder}: no data files in this folder; known are {', '.join(READERS)}")
    for path in _of_split(folder, files, split):
        yield from _file(path, str(path.relative_to(folder)), split)


def _of_split(folder: Path, files: list[Path], split: str) -> list[Path]:
    """The files named after `split` (`valid.jsonl`, `validation-00000-of-00002.parquet`), or all when none is named."""
    names = {path: SHARD.sub("", path.name.removesuffix(".gz").removesuffix(_suffix(path))) for path in files}
    known = {name for group in SPLITS for name in group}
    if not any(re.split(r"[-_.]", name)[0] in known for name in names.values()):
        return files
    accepted = next((group for group in SPLITS if split in group), (split,))
    chosen = [path for path in files if names[path] == split] or [path for path in files if names[path] in accepted]
    if not chosen:
        there = sorted(set(names.values()))
        raise DataError(f"{folder}: no files for split {split}{nearest(split, there)}; there are {', '.join(there)}")
    return chosen


@contextmanager
def _reading(path: Path) -> Generator[None]:
    try:
        yield
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: not UTF-8 text (byte {error.start}: {error.reason}); convert it to UTF-8") from None
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path}: cannot be read: {one_line(error)}") from None


def _open(path: Path) -> IO[bytes]:
    return gzip.open(path, "rb") if path.name.lower().endswith(".gz") else path.open("rb")  # type: ignore[return-value]


def _jsonl(path: Path, name: str, split: str) -> Iterator[Row]:
    with _open(path) as file:
        yield from _lines(file, path, name)


def _lines(lines: Iterable[bytes], path: Path, name: str) -> Iterator[Row]:
    for number, line in enumerate(lines, 1):
        try:
            text = line.decode("utf-8-sig" if number == 1 else "utf-8")
        except UnicodeDecodeError as error:
            raise DataError(f"{path}: line {number}: not UTF-8 text ({error.reason}); convert it to UTF-8") from None
        if not text.strip():
            continue
        try:
            values = json.loads(text)
        except json.JSONDecodeError as error:
            raise DataError(f"{path}: line {number}: not JSON: {error.msg} at column {error.colno}") from None
        if not isinstance(values, dict):
            raise DataError(f"{path}: line {number}: a row must be a JSON object, not {kind_name(values)}")
        yield Row(values, f"{name} line {number}")


def _json(path: Path, name: str, split: str) -> Iterator[Row]:
    with _open(path) as file:
        content = file.read()
    text = content.decode("utf-8-sig")
    if not text.strip():
        return
    try:
        values = json.loads(text)
    except json.JSONDecodeError as error:
        if _is_object(text.lstrip().splitlines()[0]):  # JSON lines that bear the wrong suffix
            yield from _lines(content.splitlines(), path, name)
            return
        raise DataError(f"{path}: line {error.lineno}: not JSON: {error.msg} at column {error.colno}") from None
    for number, row in enumerate(_list_of_rows(values, path, split), 1):
        if not isinstance(row, dict):
            raise DataError(f"{path}: row {number}: a row must be a JSON object, not {kind_name(row)}")
        yield Row(row, f"{name} row {number}")


def _is_object(line: str) -> bool:
    try:
        return isinstance(json.loads(line), dict)
    except json.JSONDecodeError:
        return False


def _list_of_rows(values: Any, path: Path, split: str) -> list[Any]:
    if isinstance(values, list):
        return values
    if not isinstance(values, dict):
        raise DataError(f"{path}: must hold a list of objects, not {kind_name(values)}")
    if "chosen" in values and "rejected" in values:
        return [values]
    lists = {key: value for key, value in values.items() if isinstance(value, list)}
    if split in lists:
        return lists[split]
    if len(lists) != 1:
        found = ", ".join(lists) or "none"
        raise DataError(f"{path}: must hold a list of objects, or an object with one list (found lists: {found})")
    return next(iter(lists.values()))


def _csv(path: Path, name: str, split: str) -> Iterator[Row]:
    csv.field_size_limit(2**31 - 1)
    delimiter = "\t" if _suffix(path) == ".tsv" else ","
    with io.TextIOWrapper(_open(path), encoding="utf-8-sig", newline="") as file:
        reader = csv.DictReader(file, delimiter=delimiter, strict=True)
        try:
            for number, cells in enumerate(reader, 1):
                if None in cells:
                    raise DataError(f"{path}: row {number} has more cells than the header; quote the cells")
                yield Row({column: _cell(value) for column, value in cells.items()}, f"{name} row {number}")
        except csv.Error as error:
            raise DataError(f"{path}: line {reader.line_num}: not {_suffix(path)[1:].upper()}: {error}") from None


def _cell(text: str | None) -> Any:
    """A CSV cell; one that holds a message, or a list of them, written as JSON is read as such."""
    if text and text.lstrip()[:1] in ("[", "{"):
        try:
            value = json.loads(text)
        except json.JSONDecodeError:
            return text
        first = value[0] if isinstance(value, list) and value else value
        if isinstance(first, dict) and ("role" in first or "from" in first):
            return value
    return text


def _parquet(path: Path, name: str, split: str) -> Iterator[Row]:
    import pyarrow
    import pyarrow.parquet

    try:
        file = pyarrow.parquet.ParquetFile(path)
        number = 0
        for batch in file.iter_batches(batch_size=256):
            for values in batch.to_pylist():
                number += 1
                yield Row(values, f"{name} row {number}")
    except (pyarrow.ArrowInvalid, pyarrow.ArrowNotImplementedError) as error:
        raise DataError(f"{path}: not a readable Parquet file: {one_line(error)}") from None


READERS: dict[str, Callable[[Path, str, str], Iterator[Row]]] = {
    ".jsonl": _jsonl,
    ".ndjson": _jsonl,
    ".json": _json,
    ".csv": _csv,
    ".tsv": _csv,
    ".parquet": _parquet,
}


def _hub(source: str, split: str, revision: str) -> Iterator[Row]:
    import datasets
    from datasets.exceptions import DatasetNotFoundError

    name, _, config = source.partition(":")
    asked = f"{source} at revision {revision}" if revision else source
    _go_offline_unless_reachable(name)
    try:
        dataset = datasets.load_dataset(name, config or None, split=split, revision=revision or None)
    except DatasetNotFoundError as error:
        if "gated" in str(error).lower():
            raise HubError(f"{source}: gated on the hub; accept its terms there and log in (hf auth login)") from None
        raise HubError(f"{asked}: no such file, and no such dataset on the hub") from None
    except (ConnectionError, TimeoutError) as error:
        raise HubError(
            f"{source}: no such file, and the hub is unreachable ({one_line(error, 120)}); pass a local file, "
            "or download it once while online"
        ) from None
    except (ValueError, OSError, RuntimeError) as error:
        raise HubError(_hub_reason(asked, split, error)) from None
    for number, values in enumerate(dataset, 1):
        yield Row(dict(values), f"{source} row {number}")  # type: ignore[arg-type]


def _go_offline_unless_reachable(name: str) -> None:
    """Where the hub does not answer, look in the cache alone: the client would retry every file for half a minute."""
    from datasets import config
    from huggingface_hub import HfApi, constants, utils
    from huggingface_hub.errors import HfHubHTTPError

    utils.logging.set_verbosity_error()
    try:
        HfApi().dataset_info(name, timeout=10)
    except (HfHubHTTPError, ValueError):
        pass  # it answered, or the name is none: load_dataset says so better
    except Exception:  # the client's transport errors differ between its releases
        constants.HF_HUB_OFFLINE = config.HF_HUB_OFFLINE = True


def _hub_reason(asked: str, split: str, error: Exception) -> str:
    text = " ".join(str(error).split())
    if "nknown split" in text or "Bad split" in text:
        there = [name for name in re.findall(r"['\"]([\w.-]+)['\"]", text) if name != split]
        return f"{asked}: no split {split}{nearest(split, there)}; there are {', '.join(there)}; --set data.split=NAME"
    if "Config name is missing" in text or "BuilderConfig" in text:
        return f"{asked}: name a configuration, as in {asked.partition(':')[0]}:NAME ({text[:200]})"
    return f"{asked}: the hub dataset cannot be read: {text[:200]}"
