"""CSV and TSV files, whatever character stands between their cells."""

import csv
import io
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from mio_local.data.formats.opening import check_columns, encoding_of, open_bytes, uncompressed_name
from mio_local.data.formats.row import Row
from mio_local.data.formats.written_values import messages_in
from mio_local.errors import DataError

DELIMITERS = (",", ";", "\t", "|")
SNIFFED_ROWS = 20
EXCEL = re.compile(r"sep=(.)\r?\n")  # a first line that tells Excel the delimiter


def read_delimited(path: Path, name: str, split: str) -> Iterator[Row]:
    """The rows of a CSV or TSV file. A cell is a text, or the messages written in it; None where a row is short."""
    csv.field_size_limit(2**31 - 1)
    kind = Path(uncompressed_name(path.name)).suffix[1:].upper()
    with open_bytes(path) as binary:
        head = binary.peek(1)
        encoding = "utf-8-sig" if (found := encoding_of(head)) == "utf-8" else found
        text = head.decode(encoding, "ignore")
        told = EXCEL.match(text)
        delimiter = told[1] if told else delimiter_of(text, "\t" if kind == "TSV" else ",")
        with io.TextIOWrapper(binary, encoding, newline="") as file:
            if told:
                file.readline()
            reader = csv.reader(_without_nul(file, path), delimiter=delimiter, strict=True)
            try:
                yield from _rows(reader, path, name)
            except csv.Error as error:
                raise DataError(f"{path}: line {reader.line_num}: not {kind}: {error}") from None


def _rows(records: Iterator[list[str]], path: Path, name: str) -> Iterator[Row]:
    header = [column or f"Unnamed: {number}" for number, column in enumerate(next(records, []))]
    check_columns(header, path)
    for number, cells in enumerate(filter(None, records), 1):
        if len(cells) > len(header):
            raise DataError(f"{path}: row {number} has more cells than the header; quote the cells")
        values: dict[str, Any] = dict.fromkeys(header)
        values.update(zip(header, map(_cell, cells), strict=False))
        yield Row(values, f"{name} row {number}")


def _cell(text: str) -> Any:
    value = messages_in(text)
    return text if value is None else value


def delimiter_of(text: str, usual: str) -> str:
    """The character between the cells of a file that begins with `text`; `usual` where nothing else is as likely.

    It is the one that gives the first rows as many cells as the header, and the more of them the likelier. Quoted
    cells count as what they are, so that what they hold misleads nobody.
    """
    best, most = usual, (False, 1)
    for delimiter in (usual, *(other for other in DELIMITERS if other != usual)):
        counts = _cell_counts(text, delimiter)
        score = (len(set(counts)) == 1, counts[0]) if counts else (False, 0)
        if counts and counts[0] > 1 and score > most:
            best, most = delimiter, score
    return best


def _cell_counts(text: str, delimiter: str) -> list[int]:
    counts: list[int] = []
    try:
        for cells in csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True):
            if cells:
                counts.append(len(cells))
            if len(counts) > SNIFFED_ROWS:
                break
    except csv.Error as error:
        return counts if "end of data" in str(error) else []  # `text` may end within a row
    return counts[:-1] or counts


def _without_nul(lines: Iterable[str], path: Path) -> Iterator[str]:
    for number, line in enumerate(lines, 1):
        if "\0" in line:
            raise DataError(f"{path}: line {number}: has a NUL byte, so it is no text; write the file anew")
        yield line
