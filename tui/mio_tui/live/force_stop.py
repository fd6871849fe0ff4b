"""The last resort for a trainer that does not answer."""

import os
import signal

from mio_local.runs.directory import LIVE, Run
from mio_local.runs.lock import holder
from mio_tui.dialogs import Answer

SIGNALS = {"end": signal.SIGTERM, "kill": signal.SIGKILL}
ANSWERS = (
    Answer("t", "end", "Ask its process to end (SIGTERM): it saves if it still can"),
    Answer("9", "kill", "Kill its process (SIGKILL): what came after its last checkpoint is lost"),
)


def force(run: Run, how: str) -> str:
    """Send the signal to the process that holds the run's lock; what was done, in words.

    Raises OSError where the process is another user's, RunError for a damaged status.
    """
    if run.read_status()["state"] not in LIVE:
        return "it has ended by itself"
    if not (pid := holder(run.lock)):
        return "which process trains it is not known for certain, so none is sent a signal; try again in a moment"
    os.kill(pid, SIGNALS[how])
    return f"process {pid} was asked to end" if how == "end" else f"process {pid} was killed"
