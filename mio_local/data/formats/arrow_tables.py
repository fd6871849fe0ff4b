"""Parquet and Arrow files, as `to_parquet`, `save_to_disk` and Feather write them."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from mio_local.data.formats.opening import check_columns
from mio_local.data.formats.row import Row
from mio_local.errors import DataError, one_line

BATCH = 256  # rows made Python objects at once


def read_parquet(path: Path, name: str, split: str) -> Iterator[Row]:
    """The rows of a Parquet file."""
    import pyarrow
    import pyarrow.parquet

    try:
        file = pyarrow.parquet.ParquetFile(path)
        check_columns(file.schema_arrow.names, path)
        yield from _rows(file.iter_batches(batch_size=BATCH), name)
    except pyarrow.ArrowException as error:
        raise DataError(f"{path}: not a readable Parquet file: {one_line(error)}") from None


def read_arrow(path: Path, name: str, split: str) -> Iterator[Row]:
    """The rows of an Arrow file, or of an Arrow stream, which is what datasets writes."""
    import pyarrow
    import pyarrow.ipc

    try:
        # not mapped into memory: a file whose offsets lead outside it would kill the process
        with path.open("rb") as file, pyarrow.OSFile(str(path)) as source:
            if file.read(6) == b"ARROW1":
                table = pyarrow.ipc.open_file(source)
                batches: Iterable[Any] = map(table.get_batch, range(table.num_record_batches))
            else:
                batches = table = pyarrow.ipc.open_stream(source)
            check_columns(table.schema.names, path)
            yield from _rows((batch.slice(at, BATCH) for batch in batches for at in range(0, len(batch), BATCH)), name)
    except pyarrow.ArrowException as error:
        raise DataError(f"{path}: not a readable Arrow file: {one_line(error)}") from None


def _rows(batches: Iterable[Any], name: str) -> Iterator[Row]:
    number = 0
    for batch in batches:
        batch.validate(full=True)  # offsets and UTF-8 are taken on trust otherwise
        for values in batch.to_pylist():
            number += 1
            yield Row(values, f"{name} row {number}")
