"""`mio-local resume RUN`: go on from the last checkpoint, as if nothing had happened; or go on after a pause."""

import argparse

from mio_local import runs
from mio_local.commands import screen
from mio_local.commands.train import watch
from mio_local.control import request
from mio_local.launch import launch
from mio_local.runs import runs_folder
from mio_local.session import reopen


def main(arguments: argparse.Namespace) -> int:
    """Resume; 0 when the run is done or was asked to stop."""
    run = runs.find(runs_folder(arguments.runs), arguments.run)
    out = screen.console()
    if run.read_status()["state"] == "paused":
        request(run.control, "resume")
        out.print(f"{run.name} goes on")
        screen.next_steps(out, f"mio-local attach {screen.called(run)}")
        return 0
    if arguments.detach:
        launch([run])
        out.print(f"{run.name} goes on in the background")
        screen.next_steps(out, *screen.ways(run))
        return 0
    with run.locked():
        with screen.preparing(out) as report:
            job = reopen(run, report)
        out.print(f"resuming {run.name} from step {job.progress.step}")
        return watch(job, out)
