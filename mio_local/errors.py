"""Everything a user can get wrong, as one exception tree.

    MioError                one line, exit code 2
    ├── RecipeError         a recipe file, key or flag
    ├── DataError           a dataset file, row or column
    ├── ModelError          a model folder, its weights, its tokenizer, an adapter
    ├── BackendError        a backend that is not installed, a device that is not there
    ├── RunError            a run's name, lock, checkpoint or disk
    └── HubError            the Hugging Face hub: unreachable, gated, no such name

The command line prints `str(error)` and nothing else, so a message names the file, the line or key, the value and
the remedy. Anything that is not a MioError is a bug of ours and keeps its traceback.
"""

import difflib
import errno
from collections.abc import Iterable

FULL_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
# safetensors says "No space left on device (os error 28)", MLX "[write] Unable to write 734556 bytes to file."
FULL_DISK_WORDS = ("no space left", "disk quota", "file too large", "[write] unable to write")
NO_HANDLES = (errno.EMFILE, errno.ENFILE)
NO_LOCKS = (errno.ENOLCK, errno.EOPNOTSUPP)
NO_MEMORY_WORDS = (
    "out of memory", "outofmemory", "insufficient memory", "unable to allocate", "allocate memory",
    "attempting to allocate", "can't start new thread", "threadpoolbuilderror", "status_alloc_failed",
    "failed to map segment",  # of a library that is imported
    "cublas_status_not_initialized when calling `cublascreate",  # its workspace found no room
    "without exception set", "without setting an exception",  # CPython found no room for a frame, nor to say so
)  # fmt: skip


class MioError(Exception):
    """A user's mistake, or the world's: one line and exit code 2."""


class RecipeError(MioError):
    """A recipe file, one of its keys, or a command-line flag."""


class DataError(MioError):
    """A dataset file, one of its rows, or its columns."""


class ModelError(MioError):
    """A model folder, its weights or tokenizer, or an adapter."""


class BackendError(MioError):
    """A backend that is not installed, or a device that is not there."""


class RunError(MioError):
    """A run directory: its name, its lock, its checkpoints, or the disk under it."""


class HubError(MioError):
    """The Hugging Face hub could not give what was asked for."""


def nearest(word: str, known: Iterable[str]) -> str:
    """` (nearest: X)` for the closest known word, or an empty string: the tail of an unknown-name message."""
    match = difflib.get_close_matches(word, list(known), n=1, cutoff=0.5)
    return f" (nearest: {match[0]})" if match else ""


def is_full_disk(error: BaseException) -> bool:
    """Whether the disk was full, however the library that met it says so."""
    if isinstance(error, OSError) and error.errno in FULL_DISK:
        return True
    return any(words in str(error).lower() for words in FULL_DISK_WORDS)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether memory ran out, however the array library that met it says so."""
    return isinstance(error, MemoryError) or any(words in str(error).lower() for words in NO_MEMORY_WORDS)


def lacks_memory(error: BaseException) -> bool:
    """`is_out_of_memory` of an error, or of what it was raised from."""
    return is_out_of_memory(error) or (error.__cause__ is not None and is_out_of_memory(error.__cause__))


def of_the_machine(error: BaseException) -> str:
    """What this machine lacks or refuses, with the remedy; "" for any other error: that is a bug of ours."""
    if is_full_disk(error):
        return f"the disk is full ({one_line(error)}); free some space"
    number = error.errno if isinstance(error, OSError) else None
    if number in NO_HANDLES or "too many open files" in str(error).lower():
        return "too many files are open at once; allow more with ulimit -n 4096"
    if lacks_memory(error):
        return f"memory ran out ({one_line(error)}); end other programs, or take less at once"
    if number in NO_LOCKS:
        return f"{one_line(error)}: a run needs a file system with locks; choose another folder with --runs"
    if not isinstance(error, OSError):
        return ""
    said = error.strerror or one_line(error)
    return f"{error.filename}: {said}" if error.filename else said


def one_line(error: BaseException, limit: int = 300) -> str:
    """The first non-empty line of an exception's text, with the next where it ends in a colon, cut to `limit`."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    text = lines[0] if lines else type(error).__name__
    for line in lines[1:]:
        if not text.endswith(":"):
            break
        text += f" {line}"
    return text if len(text) <= limit else text[: limit - 1] + "…"
