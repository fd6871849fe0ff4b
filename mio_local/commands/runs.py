"""`mio-local runs`: every run, newest first."""

import argparse

from mio_local import runs
from mio_local.commands import screen
from mio_local.errors import RunError
from mio_local.runs import runs_folder


def main(arguments: argparse.Namespace) -> int:
    """List the runs."""
    folder = runs_folder(arguments.runs)
    out = screen.console()
    found = runs.list_runs(folder)
    if not found:
        out.print(f"no runs in {folder}")
        screen.next_steps(out, "mio-local demo", "mio-local train --model MODEL --data PAIRS.jsonl")
        return 0
    listing = screen.table(str(folder), ["run", "state", "loss", "model", "step", "Δchosen", "accuracy"])
    for run in found:
        try:
            status = run.read_status()
        except RunError:
            screen.row(listing, run.name, "damaged", "", "", "", "", "")
            continue
        metrics = status.get("metrics", {})
        screen.row(
            listing, run.name, status["state"], str(status.get("loss_name", "")), str(status.get("model", "")),
            f"{status.get('step', 0)}/{status.get('total_steps', '?')}",
            screen.figure(metrics.get("delta/chosen"), "+.2f"), screen.figure(metrics.get("rewards/accuracies"), ".2f"),
        )  # fmt: skip
    out.print(listing)
    screen.next_steps(out, f"mio-local show {screen.called(found[0])}")
    return 0
