"""`mio-local demo`: MIO, then DPO from the same start at the same initial gradient, on a model that ships here."""

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mio_local import printing
from mio_local.errors import RunError
from mio_local.recipe import Recipe
from mio_local.reports.plotting import draw
from mio_local.runs import directory, history
from mio_local.runs.directory import runs_folder
from mio_local.shipped import demo_recipes
from mio_local.training.loop import train
from mio_local.training.prepare import start


@dataclass(frozen=True)
class Outcome:
    """A finished demo run: its last held-out figures, and greedy task accuracy before and after."""

    name: str
    loss: str
    held_out: dict[str, Any]
    tasks: list[dict[str, Any]]


def main(arguments: argparse.Namespace) -> int:
    """Train both, then show a table and the curves."""
    folder = runs_folder(arguments.runs)
    out = printing.console()
    mio, dpo = demo_recipes(arguments.backend, arguments.device, arguments.steps)
    out.print(
        f"mio-local demo: {Path(mio.model.name).parent.name} model, {mio.train.steps} steps of {mio.loss.name} at beta "
        f"{mio.loss.beta:g}, then of {dpo.loss.name} at beta {dpo.loss.beta:g}: the same first gradient"
    )
    outcomes = [_train(recipe, folder, out) for recipe in (mio, dpo)]
    out.print(_table(outcomes))
    names = [outcome.name for outcome in outcomes]
    picture = folder / f"{names[0]}-against-{names[1]}.png"
    draw([history.read(directory.find(folder, name)) for name in names], picture)
    out.print(f"curves: {picture}")
    out.print(f"the small model, to try your own pairs on: {mio.model.name}")
    printing.next_steps(
        out,
        *(f"mio-local {command} {printing.called(directory.find(folder, names[0]))}" for command in ("show", "chat")),
        "mio-local data check PAIRS.jsonl --model MODEL",
        "mio-local train --model MODEL --data PAIRS.jsonl",
    )
    return 0


def _train(recipe: Recipe, folder: Path, out: printing.Console) -> Outcome:
    with printing.preparing(out) as report:
        job = start(recipe, folder, directory.free_name(folder, f"demo-{recipe.loss.name}"), report)
    end = printing.follow(train(job), job.total_steps, out, label=recipe.loss.name)[-1].values
    if end["state"] != "done":
        raise RunError(f"run {job.run.name} {end['state']}: {end['reason']}; "
                       f"mio-local resume {printing.called(job.run)}")
    past = history.read(job.run)
    return Outcome(job.run.name, recipe.loss.name, past.of("eval")[-1], past.of("task"))


def _table(outcomes: list[Outcome]) -> Any:
    made = printing.table(
        "held-out pairs: log-prob of the answers against the start, nats per answer; tasks answered greedily",
        ["run", "chosen", "rejected", "margin", "accuracy", "task before", "task after"],
    )
    for outcome in outcomes:
        v = outcome.held_out
        before, after = (f"{task['correct']}/{task['questions']}" for task in (outcome.tasks[0], outcome.tasks[-1]))
        printing.row(
            made, outcome.name, f"{v['delta/chosen']:+.2f}", f"{v['delta/rejected']:+.2f}",
            f"{v['delta/chosen'] - v['delta/rejected']:+.2f}", f"{v['rewards/accuracies']:.3f}", before, after,
        )  # fmt: skip
    return made
