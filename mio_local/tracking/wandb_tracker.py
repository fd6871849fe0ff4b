"""Weights & Biases: online with the login that the user has, or offline with WANDB_MODE=offline."""

import os
import shlex
from importlib import import_module
from pathlib import Path
from typing import Any

from mio_local.tracking.trackers import PROJECT, Subject

# what a user may ask for by these, and is not sent unasked: this process's output, code and repository, the machine
QUIET = {
    "WANDB_CONSOLE": "off", "WANDB_DISABLE_GIT": "true", "WANDB_DISABLE_CODE": "true", "WANDB_X_DISABLE_META": "true",
    "WANDB_X_DISABLE_STATS": "true", "WANDB_X_SAVE_REQUIREMENTS": "false", "WANDB_ERROR_REPORTING": "false",
}  # fmt: skip


class WandbRun:
    """A W&B run. Its steps are the run's; figures of a step that W&B has already are left out by itself."""

    def __init__(self, subject: Subject) -> None:
        for name, value in QUIET.items():
            os.environ.setdefault(name, value)
        wandb: Any = import_module("wandb")
        self._run = wandb.init(
            project=os.environ.get("WANDB_PROJECT") or PROJECT, name=subject.name, id=subject.identity or None,
            config=subject.config, dir=os.environ.get("WANDB_DIR") or str(subject.folder), resume="allow",
            allow_val_change=True,
        )  # fmt: skip
        self.identity = str(self._run.id)
        kept = Path(str(self._run.settings.sync_dir)).parent  # where each session has a folder, sent in their order
        offline = f"wandb sync {shlex.quote(str(kept))}/offline-run-*-{self.identity}"
        self.where = str(self._run.url or offline)

    def metrics(self, step: int, values: dict[str, float], time: float) -> None:
        self._run.log({**values, "_timestamp": time}, step=step)

    def note(self, step: int, level: str, code: str, text: str, time: float) -> None:
        """A tag, and a line of the run's notes."""
        self._run.tags = tuple(dict.fromkeys((*(self._run.tags or ()), code)))
        line = f"step {step}, {level}: {text}"
        self._run.notes = f"{self._run.notes}\n{line}" if self._run.notes else line

    def flush(self) -> None:
        """Nothing to do: what was logged is with a process of W&B's own."""

    def end(self, state: str) -> None:
        self._run.finish(exit_code=int(state not in ("done", "stopped")))
