"""Start a trainer that outlives whoever asked for it: a process and a session of its own, its output in a file.

The lock is taken here and inherited by the trainer, so a live run is told from a lost one from the first moment on.
"""

import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from mio_local.process import trust_handed_on
from mio_local.recipe import Recipe
from mio_local.runs import control, directory
from mio_local.runs.directory import Run
from mio_local.runs.summary import facts
from mio_local.storage.writing import append

_started: list[subprocess.Popen[bytes]] = []  # else a dead child of ours would stay a zombie


def lay_out(recipe: Recipe, folder: Path, name: str = "") -> Run:
    """Make the directory of a run that `launch` will train. Raises RunError for a bad name or folder."""
    directory.check_folder(folder)
    recipe = recipe.absolute()
    name = name or directory.free_name(folder, f"{Path(recipe.model.name).name}-{recipe.loss.name}")
    run = directory.claim(folder, name)
    directory.create(run, recipe.dump(), {"name": name, "created": time.time(), "waiting": True})
    run.write_status(state="queued", step=0, **facts(recipe), metrics={}, pid=0)
    return run


def launch(queue: Sequence[Run], *more: str) -> None:
    """Train or resume the runs in `queue`, one after the other, in the background; `more` are flags of `resume` for the
    first. Raises RunError for a locked one.

    A run that does not end as done leaves those behind it queued.
    """
    reap()
    first = queue[0]
    first.unfinished()
    with first.locked() as lock, os.fdopen(append(first.log), "ab") as log:
        begin = control.size(first.control)  # from here on a stop is obeyed, however long the trainer takes to start
        first.update_status(state="starting", reason="", doing="starting", pid=0)
        paths = [str(run.path.absolute()) for run in queue]
        _started.append(
            subprocess.Popen(
                # -P: no module is imported from the folder in which the app happens to run
                [sys.executable, "-P", "-m", "mio_local.worker", "--lock", str(lock), "--requests", str(begin),
                 *more, *trust_handed_on(), *paths],
                stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, start_new_session=True,
                pass_fds=[lock], env=os.environ | {"PYTHONUNBUFFERED": "1"},
            )
        )  # fmt: skip


def reap() -> None:
    """Let the system forget trainers that ended."""
    _started[:] = [process for process in _started if process.poll() is None]
