"""Plain text: the thirty paragraphs that ship, or a user's own, and what of it is scored."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mio_local.data.loglikelihood import Row
from mio_local.errors import DataError
from mio_local.storage.paths import expanded

NONE, SHIPPED = "none", "shipped"
FILE = Path(__file__).with_name("shipped.txt")  # in English, written for this


def read_texts(source: str, said: str) -> list[str]:
    """The texts of `source`: SHIPPED, or a file in which empty lines part them; none for NONE. Raises DataError, naming
    the file after `said`."""
    if source in (NONE, ""):
        return []
    file = FILE if source == SHIPPED else expanded(source, said.rstrip(": "))
    try:
        lines = file.read_text(encoding="utf-8-sig").split("\n")
    except FileNotFoundError:
        raise DataError(f"{said}{source}: no such file; write {SHIPPED} for the texts that come along") from None
    except (OSError, ValueError) as error:
        raise DataError(f"{said}{source}: cannot be read: {error}") from None
    texts = "\n".join(line if line.strip() else "" for line in lines).strip("\n").split("\n\n")
    found = [text.strip("\n") for text in texts if text.strip()]
    if not found:
        raise DataError(f"{said}{source}: holds no text")
    return found


def text_rows(texts: Sequence[str], tokenizer: Any, longest: int) -> list[list[Row]]:
    """Each text as rows of its first token and the others, as the tokenizer writes it by itself: what begins it is not
    scored. A text of more than `longest` tokens is several rows, each of which begins with the last token of the one
    before. Texts of one token are left out."""
    found: list[list[Row]] = []
    for text in texts:
        ids = list(tokenizer.encode(text))
        parts = [ids[first : first + longest] for first in range(0, len(ids) - 1, longest - 1)]
        if parts:
            found.append([(part[:1], part[1:]) for part in parts])
    return found
