"""Rows of a dataset: local JSONL, JSON, CSV, TSV, Parquet and Arrow files, folders of them, and hub datasets.

Every source gives the same thing, an iterator of `Row`: the values by column, and where they stand in the source.
What a row means (which column is the prompt) is the business of `layouts`.
"""

from collections.abc import Callable, Iterator
from pathlib import Path

from mio_local.data.formats.arrow_tables import read_arrow, read_parquet
from mio_local.data.formats.delimited import read_delimited
from mio_local.data.formats.folders import files_of_split, validation_split
from mio_local.data.formats.hub_rows import read_hub
from mio_local.data.formats.json_lines import read_json_lines
from mio_local.data.formats.json_table import read_json
from mio_local.data.formats.opening import COMPRESSIONS, reading, uncompressed_name
from mio_local.data.formats.row import Row
from mio_local.errors import DataError
from mio_local.storage.paths import expanded

READERS: dict[str, Callable[[Path, str, str], Iterator[Row]]] = {
    ".jsonl": read_json_lines,
    ".ndjson": read_json_lines,
    ".json": read_json,
    ".csv": read_delimited,
    ".tsv": read_delimited,
    ".parquet": read_parquet,
    ".arrow": read_arrow,
}
BINARY = (".parquet", ".arrow")  # which have their own compression inside


def read_rows(source: str, *, split: str = "train", revision: str = "") -> Iterator[Row]:
    """The rows of a file, of a folder, or of a hub dataset (`org/name`, or `org/name:config`), in order.

    `split` chooses among the files of a folder that are named after splits, and is the split of a hub dataset;
    `revision` is a hub branch, tag or commit. Raises `DataError` naming file and line, or `HubError`.
    """
    if not source:
        raise DataError("no preference pairs given: pass --data with a file, a folder or a hub dataset")
    path = expanded(source, "--data")
    if path.is_dir():
        return _folder(source, split)
    if path.exists():
        return _file(path, path.name, split)
    if path.is_symlink():
        raise DataError(f"{source}: a link to a file that is not there")
    if source[0] in "./~\\" or _suffix(path):
        raise DataError(f"{source}: no such file")
    return read_hub(source, split, revision)


def local_files(source: str, split: str) -> list[tuple[str, Path]]:
    """The files that `read_rows` reads, in order, by the names that rows have; none for what is on the hub, is missing,
    or is a pipe. Raises DataError for a folder without any."""
    path = expanded(source, "--data") if source else None
    if path and path.is_dir():
        return [(str(file.relative_to(path)), file) for file in files_of_split(path, READERS, split)]
    return [(path.name, path)] if path and path.is_file() else []


def validation_split_of(source: str) -> str:
    """The split that a local folder has for held-out pairs beside one to train on, or an empty string."""
    path = expanded(source, "--data") if source else None
    return validation_split(path, READERS) if path and path.is_dir() else ""


def _suffix(path: Path) -> str:
    """The known data suffix of a file name, without that of a compression, or an empty string."""
    suffix = Path(uncompressed_name(path.name)).suffix.lower()
    return suffix if suffix in READERS else ""


def _folder(source: str, split: str) -> Iterator[Row]:
    for name, path in local_files(source, split):
        yield from _file(path, name, split)


def _file(path: Path, name: str, split: str) -> Iterator[Row]:
    suffix = _suffix(path)
    if not suffix:
        known, packed = ", ".join(READERS), ", ".join(COMPRESSIONS)
        raise DataError(f"{path}: unknown kind of file; known are {known}, and {packed} of the text ones")
    if suffix in BINARY and uncompressed_name(path.name) != path.name:
        raise DataError(f"{path}: cannot be read compressed; uncompress it first")
    empty = True
    with reading(path):
        for row in READERS[suffix](path, name, split):
            empty = False
            yield row
    if empty:
        raise DataError(f"{path}: holds no rows")
