"""The last resort for a trainer that does not answer."""

import os
import signal
from typing import Any

from mio_local.runs.directory import LIVE, Run
from mio_tui.dialogs import Answer
from mio_tui.formatting import count

SIGNALS = {"end": signal.SIGTERM, "kill": signal.SIGKILL}
ANSWERS = (
    Answer("t", "end", "Ask its process to end (SIGTERM): it saves if it still can"),
    Answer("k", "kill", "Kill its process (SIGKILL): what came after its last checkpoint is lost"),
)


def force(run: Run, how: str) -> str:
    """Send the signal, if the run's lock is held by the process that status.json names; what was done, in words.

    Raises OSError where the process is another user's, RunError for a damaged status.
    """
    status: dict[str, Any] = run.read_status()
    pid = count(status.get("pid"))
    if status["state"] not in LIVE:
        return "it has ended by itself"
    if pid <= 1:
        return "its process is not known yet; try again in a moment"
    os.kill(pid, SIGNALS[how])
    return f"process {pid} was asked to end" if how == "end" else f"process {pid} was killed"
