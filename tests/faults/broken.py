"""What a machine may lack, for one process: called by name in a child of the fork server before its command runs."""

import errno
import fcntl
import os
import time
from typing import Any


def clock_set_back() -> None:
    """By a day, so that every file is of tomorrow."""
    clock = time.time
    time.time = lambda: clock() - 86400


def no_locks() -> None:
    """As network file systems have it."""

    def refuse(*_: Any) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    fcntl.flock = refuse


def no_modes() -> None:
    """As FAT has it."""

    def refuse(path: Any, *_: Any, **__: Any) -> None:
        raise PermissionError(errno.EPERM, os.strerror(errno.EPERM), str(path))

    os.chmod = refuse
