"""Pictures, films and sounds, which are not trained on: refused by name, so that none vanishes silently."""

import re
from collections.abc import Mapping
from typing import Any

from mio_local.data.messages import BadRow, is_null

MEDIA = {
    "images": "pictures", "image": "pictures", "videos": "films", "video": "films", "audios": "sounds",
    "audio": "sounds",
}  # fmt: skip
PLACEHOLDER = re.compile(r"<(?:image|video|audio)>")
REMEDY = "; remove the column to train on the text alone"


def check_media(values: Mapping[str, Any], prompt: Any, where: str) -> None:
    """Raise BadRow where a row has media, or a prompt that stands for some that are not there."""
    columns = [column for column in MEDIA if column in values]
    for column in columns:
        if not _is_empty(values[column]):
            raise BadRow(where, f"{column}: {MEDIA[column]} are not trained on here", REMEDY)
    if columns and (found := PLACEHOLDER.search(str(prompt))):
        raise BadRow(where, f"prompt has {found[0]}, and {columns[0]} is empty", "; take the mark out of the text")


def _is_empty(value: Any) -> bool:
    if isinstance(value, list):
        return all(map(_is_empty, value))
    return is_null(value) or value == "" or value == {}
