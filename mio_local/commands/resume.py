"""`mio-local resume RUN`: go on from the last checkpoint, as if nothing had happened."""

import argparse

from mio_local import runs
from mio_local.commands import screen
from mio_local.commands.train import watch
from mio_local.recipe import runs_folder
from mio_local.session import reopen


def main(arguments: argparse.Namespace) -> int:
    """Resume; 0 when the run is done or was asked to stop."""
    run = runs.find(runs_folder(arguments.runs), arguments.run)
    out = screen.console()
    with screen.preparing(out) as report:
        job = reopen(run, report)
    out.print(f"resuming {run.name} from step {job.progress.step}")
    return watch(job, out)
