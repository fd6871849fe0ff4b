"""`mio-local runs`: every run, newest first."""

import argparse

from mio_local import summary
from mio_local.commands import screen
from mio_local.pieces import visible, visible_line
from mio_local.runs import Run, runs_folder

LONGEST = 24  # characters of a fact: a damaged file must not push the names off the screen


def main(arguments: argparse.Namespace) -> int:
    """List the runs."""
    folder = runs_folder(arguments.runs)
    out = screen.console()
    found = summary.read(folder)
    if not found:
        out.print(f"no runs in {visible(str(folder))}")
        screen.next_steps(out, "mio-local demo", "mio-local train --model MODEL --data PAIRS.jsonl")
        return 0
    listing = screen.table(str(folder), ["run", "state", "loss", "model", "step", "Δchosen", "accuracy"])
    for row in found:
        figures = screen.figure(row.change, "+.2f"), screen.figure(row.accuracy, ".2f")
        facts = (visible_line(fact, LONGEST) for fact in (row.objective, row.model, row.step, *figures))
        screen.row(listing, row.name, row.state, *facts)
    out.print(listing)
    screen.next_steps(out, f"mio-local show {screen.called(Run(folder / found[0].name))}")
    return 0
