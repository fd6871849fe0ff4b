"""Digests by which it is known that files are what was written: of a text, within it; of a folder, in a file of it.

A flipped bit and a file that is gone are told; what was put beside them is not ours. A folder or text from before there
were digests has none, and passes.
"""

import hashlib
import json
from pathlib import Path
from typing import Any

from mio_local.storage.json_files import read_json
from mio_local.storage.plain_files import open_plain

DIGESTS = "digests.json"
OF_ITSELF = "digest"  # the key of a JSON object that holds the digest of the others


def digest_of(file: Path) -> str:
    """sha256 of a file's bytes. Raises OSError."""
    with open_plain(file) as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def text_digest(text: str) -> str:
    """sha256 of a text."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def sealed(values: dict[str, Any]) -> dict[str, Any]:
    """The values of a JSON object with their digest among them."""
    rest = {key: value for key, value in values.items() if key != OF_ITSELF}
    return {**rest, OF_ITSELF: text_digest(json.dumps(rest, sort_keys=True))}


def is_whole(values: dict[str, Any]) -> bool:
    """Whether the digest among the values is theirs; one without any passes."""
    return OF_ITSELF not in values or values[OF_ITSELF] == sealed(values)[OF_ITSELF]


def seal_folder(folder: Path, **more: Any) -> None:
    """Write down the digests of all files in a folder, and what `more` there is to know of it."""
    found = sorted(file for file in folder.rglob("*") if file.is_file() and file != folder / DIGESTS)
    files = {str(file.relative_to(folder)): digest_of(file) for file in found}
    text = json.dumps(sealed({"files": files, **more}), indent=1) + "\n"
    (folder / DIGESTS).write_text(text, encoding="utf-8")


def fault_of(folder: Path) -> str:
    """What is not as it was written, in a few words that name a file; "" where all is, or nothing was written down."""
    try:
        known = read_seal(folder)
        if known is None:
            return ""
        for name, digest in known["files"].items():
            if digest_of(folder / name) != digest:
                return f"{name} is not what was written"
    except FileNotFoundError as error:
        return f"{Path(error.filename).name} is missing"
    except ValueError:
        return f"{DIGESTS} is not what was written"
    except OSError as error:
        return f"{error.filename or folder} cannot be read: {error.strerror or error}"
    return ""


def read_seal(folder: Path) -> dict[str, Any] | None:
    """What `seal_folder` wrote down; None where it did not. Raises ValueError where that is damaged, OSError."""
    try:
        known = read_json(folder / DIGESTS)
    except FileNotFoundError:
        return None
    if not isinstance(known, dict) or OF_ITSELF not in known or not is_whole(known) or "files" not in known:
        raise ValueError("another digest")
    return known

