"""JSONL: one JSON object a line."""

import codecs
import io
from collections.abc import Iterable, Iterator
from pathlib import Path

from mio_local.data.formats.json_values import BadJson, parse
from mio_local.data.formats.opening import encoding_of, open_bytes
from mio_local.data.formats.row import Row
from mio_local.errors import DataError
from mio_local.text import kind_name


def read_json_lines(path: Path, name: str, split: str) -> Iterator[Row]:
    """The rows of a JSONL file; `name` is what their places call it."""
    with open_bytes(path) as file:
        encoding = encoding_of(file.peek(1))
        if encoding.startswith("utf-8"):
            yield from rows_of_lines(file, path, name)
        else:
            with io.TextIOWrapper(file, encoding, newline="\n") as lines:
                yield from rows_of_lines(lines, path, name)


def rows_of_lines(lines: Iterable[bytes] | Iterable[str], path: Path, name: str) -> Iterator[Row]:
    """A row for each line that is not blank. Lines end at newlines alone: U+2028 may stand in a text."""
    for number, line in enumerate(lines, 1):
        if number == 1 and isinstance(line, bytes):
            line = line.removeprefix(codecs.BOM_UTF8)
        if not line or line.isspace():
            continue
        try:
            values = parse(line)
        except BadJson as error:
            raise DataError(f"{path}: line {number}: {error}; repair or remove the line") from None
        except UnicodeDecodeError as error:
            raise DataError(f"{path}: line {number}: not UTF-8 text ({error.reason}); convert it to UTF-8") from None
        if not isinstance(values, dict):
            raise DataError(f"{path}: line {number}: a row must be a JSON object, not {kind_name(values)}")
        yield Row(values, f"{name} line {number}")
