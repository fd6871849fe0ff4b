"""JSON of strangers: of any depth, of any size."""

import json
from pathlib import Path
from typing import Any

from mio_local.storage.plain_files import open_plain

LARGEST = 1 << 26  # bytes; a config, or the index of a model of thousands of tensors, has a thousandth


def parse(text: str | bytes) -> Any:
    """What a JSON text says. Raises ValueError, for nesting that Python does not follow too."""
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError("nested too deeply") from None


def read_json(file: Path) -> Any:
    """What a JSON file says. Raises OSError, and ValueError as `parse` or for a file that is far too large."""
    with open_plain(file) as opened:
        content = opened.read(LARGEST + 1)
    if len(content) > LARGEST:
        raise ValueError(f"more than {LARGEST:,} bytes, which is no such file's size")
    return parse(content.decode("utf-8"))
