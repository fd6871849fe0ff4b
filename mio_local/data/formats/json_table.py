"""JSON files: a list of objects, an object that wraps one, or a table as pandas writes it."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from mio_local.data.formats.json_lines import rows_of_lines
from mio_local.data.formats.json_values import BadJson, parse
from mio_local.data.formats.opening import check_columns, encoding_of, open_bytes
from mio_local.data.formats.row import Row
from mio_local.errors import DataError
from mio_local.text import kind_name


def read_json(path: Path, name: str, split: str) -> Iterator[Row]:
    """The rows of a JSON file, held in memory whole; `split` chooses among the lists of an object."""
    with open_bytes(path) as file:
        content = file.read()
    text = content.decode("utf-8-sig" if (found := encoding_of(content)) == "utf-8" else found)
    if not text.strip():
        return
    try:
        values = parse(text)
    except BadJson as error:
        if _is_object(text.lstrip().split("\n", 1)[0]):  # JSON lines that bear the wrong suffix
            yield from rows_of_lines(text.split("\n"), path, name)
            return
        raise DataError(f"{path}: line {error.line}: {error}") from None
    for number, row in enumerate(_rows(values, path, split), 1):
        if not isinstance(row, dict):
            raise DataError(f"{path}: row {number}: a row must be a JSON object, not {kind_name(row)}")
        yield Row(row, f"{name} row {number}")


def _is_object(line: str) -> bool:
    try:
        return isinstance(parse(line), dict)
    except ValueError:
        return False


def _rows(values: Any, path: Path, split: str) -> list[Any]:
    if isinstance(values, list):
        return values
    if not isinstance(values, dict):
        raise DataError(f"{path}: must hold a list of objects, not {kind_name(values)}")
    if not isinstance(values.get(split), list) and (rows := _table(values, path)) is not None:
        return rows
    if "chosen" in values and "rejected" in values:
        return [values]
    lists = {key: value for key, value in values.items() if isinstance(value, list)}
    if split in lists:
        return lists[split]
    if any(_are_messages(value) for value in lists.values()):  # a conversation holds no rows
        return [values]
    if len(lists) != 1:
        found = ", ".join(lists) or "none"
        raise DataError(f"{path}: must hold a list of objects, or an object with one list (found lists: {found})")
    return next(iter(lists.values()))


def _table(values: dict[str, Any], path: Path) -> list[Any] | None:
    """The rows of `DataFrame.to_json` in one of its orients, or of an object of columns; None where it is neither."""
    columns, data = values.get("columns"), values.get("data")
    if set(values) <= {"columns", "index", "data"} and isinstance(columns, list) and isinstance(data, list):
        return _split_orient(columns, data, path)
    cells = list(values.values())
    if len(cells) > 1 and all(isinstance(column, dict) and column and not _is_message(column) for column in cells):
        labels = list(cells[0])
        if all(label.isdigit() for label in values) and not all(label.isdigit() for label in labels):
            return cells  # orient="index": a row for each label
        if all(column.keys() == cells[0].keys() for column in cells):
            return [{name: column[label] for name, column in values.items()} for label in labels]
    if len(cells) > 1 and all(isinstance(column, list) and column for column in cells):
        plain = any(not isinstance(cell, dict) for column in cells for cell in column)  # lists of rows are objects
        if plain and len({len(column) for column in cells}) == 1:
            return [dict(zip(values, row, strict=True)) for row in zip(*cells, strict=True)]
        if plain:
            lengths = ", ".join(f"{name} {len(column):,}" for name, column in values.items())
            raise DataError(f"{path}: its columns are lists of different lengths ({lengths})")
    return None


def _split_orient(columns: list[Any], data: list[Any], path: Path) -> list[Any]:
    names = [str(column) for column in columns]
    check_columns(names, path)
    for number, row in enumerate(data, 1):
        if not isinstance(row, list) or len(row) != len(names):
            raise DataError(f"{path}: row {number} of data must be a list of {len(names)} cells, as columns has")
    return [dict(zip(names, row, strict=True)) for row in data]


def _is_message(value: Mapping[str, Any]) -> bool:
    return "role" in value or "from" in value


def _are_messages(values: list[Any]) -> bool:
    return bool(values) and all(isinstance(value, dict) and _is_message(value) for value in values)
