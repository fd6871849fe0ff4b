"""Start a trainer that outlives whoever asked for it: a process and a session of its own, its output in a file.

The lock is taken here and inherited by the trainer, so a live run is told from a lost one, and one that waits from one
that nobody starts, from the first moment on. See `queue` for how a run waits.
"""

import os
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack, nullcontext
from pathlib import Path
from typing import Any

from mio_local.errors import RunError
from mio_local.process import TRUST, judges_handed_on, trust_handed_on
from mio_local.recipe import Recipe
from mio_local.runs import control, directory
from mio_local.runs.directory import Run, called
from mio_local.runs.lock import alone
from mio_local.runs.naming import located
from mio_local.runs.queue import ahead_of, last_behind, waits_for
from mio_local.runs.summary import facts
from mio_local.storage.writing import append

LINE = ".queue.lock"  # beside the runs: one at a time finds its place in line
PATIENCE = 5.0  # seconds; a run that waits looks at its requests more often than that

_started: list[subprocess.Popen[bytes]] = []  # else a dead child of ours would stay a zombie


def lay_out(recipe: Recipe, folder: Path, name: str = "") -> Run:
    """Make the directory of a run that `launch` will train. Raises RunError for a bad name or folder, and ModelError
    for an adapter to begin with that is none."""
    directory.check_folder(folder)
    recipe = located(recipe, folder, now=False).absolute()
    name = name or directory.free_name(folder, f"{Path(recipe.model.name).name}-{recipe.loss.name}")
    run = directory.claim(folder, name)
    directory.create(run, recipe.dump(), {"name": name, "created": time.time(), "waiting": True})
    run.write_status(state="queued", step=0, **facts(recipe), metrics={}, pid=0)
    return run


def launch(queue: Sequence[Run], *more: str, after: Run | None = None) -> str:
    """Train or resume the runs in `queue` in the background, one after the other: the first now, or once `after` is
    over and what waits for that already. The name of the run that the first waits for; "" where it begins now.

    `more` are flags of `resume` for the first. A run that does not end as done leaves those behind it queued. Raises
    RunError for one that trains, or is done, and where the runs would wait for one another.
    """
    reap()
    queue = list(dict.fromkeys(queue))
    first = queue[0]
    before = [run.unfinished(forced="--force" in more and run == first) for run in queue]
    if before[0]["waits"] and not (after or queue[1:] or set(more) - {TRUST}) and _asked_to_begin(first):
        return ""
    for run, status in zip(queue, before, strict=True):
        if run.read_status()["waits"]:
            raise RunError(f"run {run.name} waits for {ahead_of(status)}; take it out of the line first: "
                           f"mio-local stop {called(run)}")  # fmt: skip
    with ExitStack() as stack:
        locks = [stack.enter_context(run.locked()) for run in queue]
        begin = [control.size(run.control) for run in queue]  # from here on a stop is obeyed
        line = first.path.parent / LINE
        with alone(line, "another program puts runs in line; try again") if after else nullcontext():
            ahead, needs = _place(queue, before[0], after) if after else ("", False)
            for number, run in enumerate(queue):
                if ahead:
                    since = time.time() + number / 1000
                    run.update_status(state="queued", reason="", after=ahead, since=since, needs=needs, pid=0)
                else:
                    run.update_status(state="starting", reason="", doing="starting", pid=0)
                ahead, needs = run.name, True
        made = list[subprocess.Popen[bytes]]()
        try:
            for number in reversed(range(len(queue))):  # those that wait first: they can be ended where one fails
                flags = more if number == 0 else [TRUST] * (TRUST in more)
                made.append(_worker(queue[number], locks[number], begin[number], flags))
        except OSError:
            for process in made:
                process.kill()
            raise
        finally:
            _started.extend(made)
        return ahead_of(first.read_status())


def _place(queue: Sequence[Run], status: dict[str, Any], after: Run) -> tuple[str, bool]:
    """The run that the first of `queue`, whose status that was, waits for; and whether it needs that to end as done.
    What waits for `after` already goes before it. Raises RunError."""
    first, names = queue[0], {run.name for run in queue}
    if after.path.parent.resolve() != first.path.parent.resolve():
        raise RunError(f"run {first.name} cannot wait for {after.path}: that is no run of {first.path.parent}")
    if after.name in names or waits_for(after, names):
        raise RunError(f"run {first.name} cannot wait for {after.name}, which would wait for it")
    needs = status.get("needs") is True and ahead_of(status) == after.name
    return (after.name if needs else last_behind(after, queue).name), needs


def _asked_to_begin(run: Run) -> bool:
    """Ask a run that waits to begin now; whether it does, as its process may have ended meanwhile. Raises RunError."""
    control.request(run.control, "resume")
    end = time.monotonic() + PATIENCE
    while (status := run.read_status())["waits"]:
        if time.monotonic() > end:
            raise RunError(f"run {run.name}: the process that waits with it does not answer; end it first")
        time.sleep(0.02)
    return status["state"] != "queued"


def _worker(run: Run, lock: int, begin: int, flags: Sequence[str]) -> subprocess.Popen[bytes]:
    """The process of a run, which has its lock from here on."""
    with os.fdopen(append(run.log), "ab") as log:
        return subprocess.Popen(
            # -P: no module is imported from the folder in which the app happens to run
            [sys.executable, "-P", "-m", "mio_local.detached.worker", "--lock", str(lock), "--requests", str(begin),
             *flags, *trust_handed_on(), *judges_handed_on(), str(run.path.absolute())],
            stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, start_new_session=True,
            pass_fds=[lock], env=os.environ | {"PYTHONUNBUFFERED": "1"},
        )  # fmt: skip


def reap() -> None:
    """Let the system forget trainers that ended."""
    _started[:] = [process for process in _started if process.poll() is None]
