"""Runs that are at work, followed until they end: the end is told whatever screen one looks at."""

import os
from collections.abc import Iterable
from typing import Any

from textual.notifications import SeverityLevel

from mio_local.errors import MioError
from mio_local.runs.directory import LIVE, Run
from mio_tui.formatting import STATES, block, number

AT_WORK = (*LIVE, "queued")
LOOK = 2.0  # seconds between two looks at the runs that are followed
SEVERITY: dict[str, SeverityLevel] = {"failed": "error", "lost": "warning", "damaged": "error"}


class Endings:
    """The runs that are followed. Whoever sees a run at work says so; nothing is read while there is none."""

    def __init__(self) -> None:
        self._runs: dict[str, Run] = {}

    def __bool__(self) -> bool:
        return bool(self._runs)

    def follow(self, runs: Iterable[Run]) -> None:
        """Tell when these end."""
        for run in runs:
            self._runs.setdefault(os.fspath(run.path), run)

    def ended(self) -> list[tuple[Run, dict[str, Any]]]:
        """The runs that have ended since the last look, each once, with their status. Reads files."""
        found: list[tuple[Run, dict[str, Any]]] = []
        for path, run in list(self._runs.items()):
            try:
                status = run.read_status()
            except (MioError, OSError) as error:
                status = {"state": "damaged", "reason": str(error)}
            if status["state"] not in AT_WORK:
                del self._runs[path]
                if run.path.exists():  # else it was deleted or moved, and is nobody's end
                    found.append((run, status))
        return found


def told(run: Run, status: dict[str, Any]) -> tuple[str, str, SeverityLevel]:
    """The title, the words and the severity of a run's end."""
    state = str(status["state"])
    sign = STATES.get(state, STATES["damaged"])[0]
    words = [str(status.get("reason") or f"at step {status.get('step', '?')}")]
    figures = status.get("held_out")
    if isinstance(figures, dict) and figures:
        chosen, rejected = (number(figures.get(f"delta/{side}")) for side in ("chosen", "rejected"))
        words.append(f"Δchosen {chosen} Δrejected {rejected} nats per answer")
    return block(f"{sign} {run.name} {state}", 100).plain, "\n".join(words), SEVERITY.get(state, "information")


def bell_wanted() -> bool:
    """Whether a run's end rings the terminal's bell: MIO_LOCAL_BELL=0 says no."""
    return os.environ.get("MIO_LOCAL_BELL") != "0"
