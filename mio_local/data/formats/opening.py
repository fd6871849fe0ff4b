"""Files opened: what compresses them taken off, their encoding found, and what goes wrong told in one line."""

import bz2
import codecs
import gzip
import io
import lzma
import zlib
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mio_local.errors import DataError, one_line

BUFFER = 1 << 16
BOMS = {
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF32_LE: "utf-32",  # before UTF-16's, which it begins with
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}


def _arrow(codec: str) -> Callable[[Path], Any]:
    def opened(path: Path) -> Any:
        import pyarrow

        return pyarrow.input_stream(str(path), compression=codec)

    return opened


def _plain(path: Path) -> Any:
    return path.open("rb")


COMPRESSIONS: dict[str, Callable[[Path], Any]] = {
    ".gz": gzip.open, ".bz2": bz2.open, ".xz": lzma.open, ".zst": _arrow("zstd"), ".lz4": _arrow("lz4"),
}  # fmt: skip


def uncompressed_name(name: str) -> str:
    """A file's name without the suffix that says how it is compressed."""
    stem, dot, suffix = name.rpartition(".")
    return stem if f"{dot}{suffix.lower()}" in COMPRESSIONS else name


def open_bytes(path: Path) -> io.BufferedReader:
    """The bytes of a file, uncompressed."""
    return io.BufferedReader(COMPRESSIONS.get(path.suffix.lower(), _plain)(path), BUFFER)


def encoding_of(head: bytes) -> str:
    """The encoding of a text file by its first bytes: UTF-8, unless they say UTF-16 or UTF-32."""
    for mark, encoding in BOMS.items():
        if head.startswith(mark):
            return encoding
    even, odd = head[0:8:2], head[1:8:2]  # a file of these kinds begins with ASCII
    if len(odd) > 1 and 0 not in even and not any(odd):
        return "utf-16-le"
    if len(odd) > 1 and 0 not in odd and not any(even):
        return "utf-16-be"
    return "utf-8"


def check_columns(names: Sequence[str], path: Path) -> None:
    """Raise DataError where two columns have one name: a row could hold only one of them."""
    twice = next((name for number, name in enumerate(names) if name in names[:number]), None)
    if twice is not None:
        raise DataError(f"{path}: has two columns named {twice}; rename one")


@contextmanager
def reading(path: Path) -> Generator[None]:
    """What the system and the decoders raise while `path` is read, as DataError."""
    try:
        yield
    except UnicodeDecodeError as error:
        found = error.encoding.upper()
        raise DataError(f"{path}: not {found} text (byte {error.start}: {error.reason}); convert it to UTF-8") from None
    except (OSError, EOFError, zlib.error, lzma.LZMAError) as error:
        raise DataError(f"{path}: cannot be read: {one_line(error)}") from None
