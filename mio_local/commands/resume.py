"""`mio-local resume RUN`: go on from the last checkpoint, as if nothing had happened; or go on after a pause."""

import argparse

from mio_local import printing
from mio_local.commands.train import watch
from mio_local.progress import Report
from mio_local.runs import directory
from mio_local.runs.control import Control, request
from mio_local.runs.directory import Run, runs_folder
from mio_local.runs.launch import launch
from mio_local.storage.writing import PRIVATE, write_atomically
from mio_local.training.job import Job
from mio_local.training.reopen import reopen, settled


def main(arguments: argparse.Namespace) -> int:
    """Resume; 0 when the run is done or was asked to stop."""
    run = directory.find(runs_folder(arguments.runs), arguments.run)
    out = printing.console()
    if run.read_status()["state"] == "paused":
        request(run.control, "resume")
        out.print(f"{run.name} goes on")
        printing.next_steps(out, f"mio-local attach {printing.called(run)}")
        return 0
    if arguments.detach:
        launch([run], *(["--force"] if arguments.force else []), *(["--from", arguments.start] * bool(arguments.start)))
        out.print(f"{run.name} goes on in the background")
        printing.next_steps(out, *printing.ways(run))
        return 0
    if not run.is_locked():
        settled(run)  # before anything is touched
    with run.locked():
        control = Control(run.control)  # a stop that is asked for from here on is obeyed
        with printing.preparing(out) as report:
            job = _prepared(run, report, arguments.start, forced=arguments.force)
        out.print(f"resuming {run.name} from step {job.progress.step}")
        return watch(job, out, control)


def _prepared(run: Run, report: Report, start: str, *, forced: bool) -> Job:
    """As `reopen`; meanwhile the status names this process, which a force stop must reach, not the one that is gone."""
    before = ""

    def told(what: str, done: int, total: int) -> None:
        nonlocal before
        if not before:
            before = run.status.read_text(encoding="utf-8") if run.status.exists() else "{}"
            run.update_status(state="starting", doing=what, reason="")
        report(what, done, total)

    try:
        return reopen(run, told, start, forced=forced)
    except BaseException:  # an interrupt too
        if before:
            write_atomically(run.status, before, PRIVATE)
        raise
