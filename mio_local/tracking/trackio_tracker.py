"""Trackio: the project on this machine, or the Space or server that its own environment variables name."""

import os
import shlex
import time as clock
from importlib import import_module
from typing import Any

from mio_local.errors import RunError
from mio_local.text import without_secrets
from mio_local.tracking.trackers import PROJECT, Subject

WRITTEN = 1.0  # seconds: twice the time between two of Trackio's writes, which it does not let be asked for
LEVELS = {"info": "INFO", "warning": "WARN", "error": "ERROR"}


class TrackioRun:
    """A Trackio run. It has no id to be resumed by, only its name: the newest run of that name goes on."""

    def __init__(self, subject: Subject) -> None:
        self._trackio: Any = import_module("trackio")
        project = os.environ.get("TRACKIO_PROJECT") or PROJECT
        self._run = self._trackio.init(
            project=project, name=subject.name, config=subject.config, embed=False,
            resume="must" if subject.identity else "never", auto_log_gpu=False, auto_log_cpu=False,
        )  # fmt: skip
        self.identity = str(self._run.id)
        if subject.identity not in ("", self.identity):
            raise RunError(f"another run called {subject.name} was begun in Trackio's project {project} meanwhile")
        self.where = _where(str(self._run.url or ""), project)

    def metrics(self, step: int, values: dict[str, float], time: float) -> None:
        self._run.log(values, step=step)

    def note(self, step: int, level: str, code: str, text: str, time: float) -> None:
        """An alert."""
        self._run.alert(code, text, self._trackio.AlertLevel[LEVELS.get(level, "INFO")], step=step)

    def flush(self) -> None:
        clock.sleep(WRITTEN)

    def end(self, state: str) -> None:
        self._run.finish()


def _where(url: str, project: str) -> str:
    if not url:
        return f"trackio show --project {shlex.quote(project)}"
    return without_secrets(url if url.startswith("http") else f"https://huggingface.co/spaces/{url}")
