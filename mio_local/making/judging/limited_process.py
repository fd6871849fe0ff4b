"""A process for code that is not ours: bounded in time and memory, without our secrets, silent, ended whole.

It is no sandbox: what runs there may read and write what its user may.
"""

import contextlib
import os
import selectors
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

from mio_local.errors import MioError, RecipeError, one_line
from mio_local.learning import MakeSettings
from mio_local.validation import bytes_of

LOOK = 0.25  # seconds between two looks at the memory; address space, which Linux bounds by itself, is not used memory
SECONDS = 10.0  # that one answer may take, where the settings do not say
LONGEST = 1 << 20  # bytes of an answer of the process
GRACE = 5.0  # seconds over its time after which the process ends itself, where nobody is left to do so
# a child gets these alone: tokens and keys have a hundred names
HANDED_ON = ("PATH", "HOME", "TMPDIR", "TZ", "LANG", "LC_ALL", "LC_CTYPE", "PYTHONPATH", "VIRTUAL_ENV",
             "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "HF_HOME", "HF_HUB_OFFLINE")  # fmt: skip
# the same order of sets each time; one thread, as each takes address space
SET = {"PYTHONHASHSEED": "0", "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1",
       "MALLOC_ARENA_MAX": "2", "TOKENIZERS_PARALLELISM": "false"}  # fmt: skip


class OverLimit(Exception):
    """The process was ended, or ended by itself: the reason in words."""


@dataclass(frozen=True)
class Limits:
    """Seconds that one answer may take, and bytes of memory."""

    seconds: float
    memory: int

    @classmethod
    def of(cls, settings: MakeSettings) -> "Limits":
        """Those of the settings. Raises RecipeError for a size that is none."""
        size = round(bytes_of(settings.judge_memory))
        if not 1e8 <= size < 1e15:
            raise RecipeError(f"make.judge_memory = {settings.judge_memory}: must be a size as 1GB, at least 100MB")
        return cls(settings.judge_seconds or SECONDS, size)

    @property
    def size(self) -> str:
        """The memory in words."""
        return f"{self.memory / 1e9:g} GB"


def environment(**more: str) -> dict[str, str]:
    """What such a process may see of our environment, and `more`."""
    return {name: os.environ[name] for name in HANDED_ON if name in os.environ} | SET | more


class LimitedProcess:
    """`script`, a file of ours that imports nothing of this package, run by its path with `arguments` after the limits.

    It is asked by lines on its stdin, and answers by lines on its stdout. Raises MioError where it cannot be started.
    """

    def __init__(
        self, script: Path, limits: Limits, arguments: Sequence[str] = (), *, isolated: bool = False,
        env: Mapping[str, str] | None = None, folder: Path | None = None,
    ) -> None:  # fmt: skip
        self.limits = limits
        # -P: the script's folder has modules of ours; -B: nothing is written beside a user's file
        flags = ["-I", "-B"] if isolated else ["-P", "-B"]
        words = [sys.executable, *flags, str(script), str(limits.seconds + GRACE), str(limits.memory), *arguments]
        try:
            self._process = subprocess.Popen(
                words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, bufsize=0,
                start_new_session=True, env=dict(environment() if env is None else env), cwd=folder,
            )  # fmt: skip
        except OSError as error:
            raise MioError(f"a process for the judge cannot be started: {one_line(error)}") from None
        self._rest, self._killing = b"", threading.Lock()

    def ask(self, line: bytes) -> None:
        """Send a line. Raises OverLimit where the process is gone."""
        assert self._process.stdin
        try:
            view = memoryview(line + b"\n")
            while view:
                view = view[self._process.stdin.write(view) or 0 :]
        except (BrokenPipeError, ConnectionResetError):
            raise OverLimit(self._ending()) from None

    def answer(self, seconds: float) -> bytes:
        """The next line, within so many seconds, without its end. Raises OverLimit, and the process is gone."""
        assert self._process.stdout
        end = time.monotonic() + seconds
        with selectors.DefaultSelector() as waiting:
            waiting.register(self._process.stdout, selectors.EVENT_READ)
            while b"\n" not in self._rest:
                left = end - time.monotonic()
                if left <= 0:
                    raise self._over(f"took over {seconds:g} s")
                if not waiting.select(min(LOOK, left)):
                    if self._memory() > self.limits.memory:
                        raise self._over(f"took over {self.limits.size} of memory")
                    continue
                read = self._process.stdout.read(65536)
                if not read:
                    raise OverLimit(self._ending())
                self._rest += read
                if len(self._rest) > LONGEST:
                    raise self._over(f"answered over {LONGEST:,} bytes")
        line, _, self._rest = self._rest.partition(b"\n")
        return line

    @property
    def rest(self) -> bytes:
        """What it said after the last whole line."""
        return self._rest

    def kill(self) -> None:
        """End the process, and its children with it; who asks it just then is told."""
        with self._killing:
            if self._process.returncode is not None:  # its number may be another's
                return
            children: list[psutil.Process] = []
            with contextlib.suppress(psutil.Error):
                children = psutil.Process(self._process.pid).children(recursive=True)
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, signal.SIGKILL)
            for child in children:  # those that left its session
                with contextlib.suppress(psutil.Error):
                    child.kill()
            self._process.wait()

    def close(self) -> None:
        """End it, and give its pipes back: for who asks it."""
        self.kill()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe:
                with contextlib.suppress(OSError):
                    pipe.close()

    def _over(self, reason: str) -> OverLimit:
        self.close()
        return OverLimit(reason)

    def _ending(self) -> str:
        """How the process ended, which closed its pipes; it may live on without them, or its children."""
        end = time.monotonic() + 0.5
        with contextlib.suppress(psutil.Error):  # not collected yet, so that its number is still its group's
            process = psutil.Process(self._process.pid)
            while process.status() != psutil.STATUS_ZOMBIE and time.monotonic() < end:
                time.sleep(0.005)
        self.close()
        code = self._process.returncode
        return f"ended its process ({f'signal {-code}' if code < 0 else f'exit code {code}'})"

    def _memory(self) -> int:
        """Bytes that the process and its children have in use."""
        total = 0
        with contextlib.suppress(psutil.Error):
            process = psutil.Process(self._process.pid)
            for one in (process, *process.children(recursive=True)):
                with contextlib.suppress(psutil.Error):
                    total += one.memory_info().rss
        return total
