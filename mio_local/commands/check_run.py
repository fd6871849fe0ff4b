"""`mio-local check RUN`: whether all that a run consists of, and rests on, is still what was written."""

import argparse

from rich.text import Text

from mio_local import printing
from mio_local.errors import RunError
from mio_local.process import without
from mio_local.runs import directory
from mio_local.runs.directory import called, runs_folder
from mio_local.text import visible
from mio_local.training.integrity import examine


def main(arguments: argparse.Namespace) -> int:
    """Print a line for each part; 0 when all are whole. Raises RunError for the first that is not, after all lines."""
    without("torch")
    run = directory.find(runs_folder(arguments.runs), arguments.run)
    out = printing.console()
    with printing.preparing(out) as report:
        found = list(examine(run, report))
    for what, problem in found:
        out.print(Text(f"{'✗' if problem else '✓'} {visible(what)}{': ' if problem else ''}{visible(problem)}"))
    wrong = [what for what, problem in found if problem]
    if wrong:
        named = ", ".join(wrong)
        raise RunError(f"run {run.name}: {len(wrong)} of {len(found)} parts are not what was written: {named}")
    out.print(f"run {visible(run.name)} is whole")
    printing.next_steps(out, f"mio-local show {called(run)}")
    return 0
