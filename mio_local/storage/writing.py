"""Files that are written whole, and who may read them.

What a run or a cache holds is its owner's alone, and so is what is written into such a folder later. What is written
anywhere else, and what is exported, is for other programs: the user's umask says who may read it.
"""

import errno
import glob
import os
import shutil
from contextlib import suppress
from pathlib import Path

PRIVATE, PRIVATE_FOLDER = 0o600, 0o700


def write_atomically(path: Path, content: str | bytes, mode: int | None = None) -> None:
    """Write beside `path`, then rename: a reader sees the old text or the new, never a part. `mode` is that of the
    file, less the user's umask; by default as `mode_in` says."""
    made = beside(path)
    mode = mode_in(path.parent) if mode is None else mode
    try:
        with os.fdopen(os.open(made, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, mode), "wb") as file:
            file.write(content.encode("utf-8") if isinstance(content, str) else content)
        os.replace(made, path)
    finally:
        made.unlink(missing_ok=True)


def mode_in(folder: Path) -> int:
    """The mode of a new file in a folder, before the user's umask: private where the folder is."""
    try:
        return 0o666 if folder.stat().st_mode & 0o077 else PRIVATE
    except OSError:  # writing there tells what is wrong
        return 0o666


def share(folder: Path) -> None:
    """Let all in a folder that was just built be as open as itself: libraries write some files as private ones."""
    mode = folder.stat().st_mode & 0o777
    for file in folder.rglob("*"):
        with suppress(OSError):  # a file system without modes
            file.chmod(mode if file.is_dir() else mode & 0o666)


def beside(place: Path) -> Path:
    """Where this process makes what is to become `place`; what others made for it and left there, killed, goes."""
    for old in place.parent.glob(f".{glob.escape(place.name)}.*"):
        number = old.name.removeprefix(f".{place.name}.").partition(".")[0]
        if number.isdecimal() and not _runs(int(number)):
            with suppress(OSError):
                shutil.rmtree(old) if old.is_dir() else old.unlink()
    return place.with_name(f".{place.name}.{os.getpid()}")


def _runs(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):  # somebody else's; no process's number at all
        return True
    return True


def append(path: Path, flags: int = os.O_WRONLY) -> int:
    """The descriptor of a private file that is appended to. Raises OSError, for a link too: it may lead anywhere."""
    try:
        return os.open(path, flags | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK, PRIVATE)
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise OSError(error.errno, "is a link, which may lead anywhere; remove it", str(path)) from None
        raise


def write_whole(file: int, content: bytes) -> None:
    """Append all of it to an open file, or nothing: what a full disk took is cut off again. Raises OSError."""
    before = os.fstat(file).st_size
    try:
        while content:
            content = content[os.write(file, content) :]
    except OSError:
        os.ftruncate(file, before)
        raise


def private_folder(path: Path) -> None:
    """A folder, and those above it, that is its owner's alone where it is new."""
    if not path.exists():
        private_folder(path.parent)  # `parents=True` would make those by the umask
        path.mkdir(mode=PRIVATE_FOLDER, exist_ok=True)


def make_private(folder: Path) -> None:
    """Let the files of a folder that was just built, and its folders, be their owner's alone."""
    for file in (folder, *folder.rglob("*")):
        with suppress(OSError):  # a file system without modes
            file.chmod(PRIVATE_FOLDER if file.is_dir() else PRIVATE)
