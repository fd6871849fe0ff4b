"""Reading what may have been planted: a pipe that nobody writes to is not waited for, a device not read without end."""

import errno
import os
import stat
from io import BufferedReader
from pathlib import Path


def open_plain(path: Path) -> BufferedReader:
    """An ordinary file, or what a link to one leads to, opened to be read. Raises OSError, for anything else too."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(errno.EINVAL, "is no ordinary file", str(path))
    return os.fdopen(descriptor, "rb")


def read_plain(path: Path) -> bytes:
    """All of an ordinary file. Raises OSError as `open_plain`."""
    with open_plain(path) as file:
        return file.read()
