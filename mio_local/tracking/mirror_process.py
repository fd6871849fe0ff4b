"""The mirror as the trainer has it: a process that is started, looked at now and then, and left at the end."""

import os
import signal
import subprocess
import sys
import time
from contextlib import suppress

from mio_local.errors import one_line
from mio_local.runs.directory import Run
from mio_local.storage.writing import append
from mio_local.tracking.mirror import LONGEST
from mio_local.tracking.mirror_state import MirrorState

LOOK = 1.0  # seconds between two looks at what the mirror wrote down
PATIENCE = 10.0  # seconds that the trainer waits at its end for what is not sent yet
_left: list[subprocess.Popen[bytes]] = []  # else a mirror that ends later would stay a zombie


class Mirror:
    """Mirrors a run to `tracker`. Nothing here raises, or waits but at the end.

    `where` is known once the tracker has the run, `trouble` where the mirroring failed, and it is `late` where it was
    left at its work at the end.
    """

    def __init__(self, run: Run, tracker: str) -> None:
        self._run, self.tracker = run, tracker
        self.log = run.path / "tracker.log"
        self.where, self.trouble, self.late = MirrorState.read(run.path, tracker).where, "", False
        self._looked, self._said = time.monotonic(), False
        self._process: subprocess.Popen[bytes] | None = None
        _left[:] = [process for process in _left if process.poll() is None]
        try:
            with os.fdopen(append(self.log), "ab") as log:
                self._process = subprocess.Popen(
                    [sys.executable, "-P", "-m", "mio_local.tracking.mirror", str(run.path.absolute()), tracker,
                     str(os.getpid())],
                    stdin=subprocess.PIPE, stdout=log, stderr=subprocess.STDOUT,
                    start_new_session=True,  # Ctrl-C in the terminal is for the trainer
                    env=os.environ | {"PYTHONUNBUFFERED": "1"},
                )  # fmt: skip
        except OSError as error:
            self.trouble = f"it could not be started: {one_line(error)}"

    def told(self) -> dict[str, str]:
        """What status.json has of it."""
        return {"by": self.tracker, "where": self.where} | ({"trouble": self.trouble} if self.trouble else {})

    def look(self) -> str:
        """What went wrong, once, when it did; "" else."""
        now = time.monotonic()
        if self._said or now - self._looked < LOOK:
            return ""
        self._looked = now
        if self._process:
            self._read(self._process.poll(), over=False)
        self._said = bool(self.trouble)
        return self.trouble

    def end(self, state: str, patience: float = PATIENCE) -> None:
        """Say how the run ended, and wait so many seconds for what is not sent yet; what takes longer goes on alone."""
        if self._process is None or self._process.stdin is None:
            return
        with suppress(OSError):  # it is gone
            self._process.stdin.write(state.encode() + b"\n")
        with suppress(OSError):
            self._process.stdin.close()
        code = None
        with suppress(subprocess.TimeoutExpired):
            code = self._process.wait(patience)
        self._read(code, over=True)
        if code is None:
            self.late = True
            _left.append(self._process)

    def _read(self, code: int | None, *, over: bool) -> None:
        """What the mirror wrote down, and how it ended, where it did; with 0 it may end only when the run is over."""
        state = MirrorState.read(self._run.path, self.tracker)
        self.where = state.where or self.where
        if code is not None and (code or not over) and not self.trouble:
            self.trouble = state.trouble if code == 1 and state.trouble else _ending(code)


def _ending(code: int) -> str:
    if code == -signal.SIGALRM:
        return f"it gave no answer for {LONGEST} seconds"
    return f"its process ended unexpectedly ({f'signal {-code}' if code < 0 else f'exit code {code}'})"
