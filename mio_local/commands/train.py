"""`mio-local train`: a new run in the foreground. Ctrl-C finishes the step and saves; a second one ends at once."""

import argparse
import shlex

from mio_local import printing
from mio_local.errors import MioError, RunError, of_the_machine
from mio_local.flags import recipe_from
from mio_local.runs.control import Control
from mio_local.runs.directory import runs_folder
from mio_local.runs.launch import launch, lay_out
from mio_local.runs.stages import stages
from mio_local.text import visible
from mio_local.tracking.trackers import check_tracker
from mio_local.training.job import Job
from mio_local.training.loop import train
from mio_local.training.prepare import start


def main(arguments: argparse.Namespace) -> int:
    """Train; 0 when the run is done or was asked to stop."""
    recipe, folder = recipe_from(arguments), runs_folder(arguments.runs)
    check_tracker(recipe.train.track)  # a background run could say it only in its log
    out = printing.console()
    queue = stages([recipe], folder, [arguments.name])
    if arguments.detach:
        made = [lay_out(one, folder, name) for one, name in queue]
        launch(made, *["--force"] * arguments.force)
        out.print(f"{made[0].name} trains in the background{f', then {made[1].name}' if made[1:] else ''}")
        printing.next_steps(out, *printing.ways(made[0]))
        return 0
    for number, (one, name) in enumerate(queue, 1):
        with printing.preparing(out) as report:
            job = start(one, folder, name, report)
            job.forced = arguments.force
        code = watch(job, out)
        if number < len(queue) and job.run.read_status()["state"] != "done":
            where = visible(str(job.run.path))
            out.print(f"once it is done, go on with the same settings and --sft-epochs 0 --init-adapter {where}")
            return code
        del job  # the next one needs the memory
    return 0


def watch(job: Job, out: printing.Console, control: Control | None = None) -> int:
    """Train `job` while showing it; `control` is `train`'s. Raises RunError when it fails."""
    facts, name = job.facts, job.run.name
    out.print(
        f"run {name}: {facts['objective']} (beta {facts['beta']:g}, {facts['reduction']}) on {facts['backend']}, "
        f"{facts['device']}; {facts['pairs']:,} pairs, {facts['held_out']:,} held out; "
        f"{facts['trainable']:,} trainable weights"
    )
    try:
        kept = printing.follow(train(job, control), job.total_steps, out)
    except MioError:
        raise
    except Exception as error:
        told = of_the_machine(error)
        if not told:
            raise
        if not job.run.exists():
            told = "its folder is gone, moved or deleted meanwhile; put it back"
        again = f"mio-local resume {printing.called(job.run)}"
        raise RunError(f"run {name}: {told}; go on with: {again}") from error
    for line in printing.tracked_lines(job.tracked, [event.values.get("code") for event in kept]):
        out.print(line)
    end = kept[-1].values
    if end["state"] == "failed":
        raise RunError(f"run {name} failed: {end['reason']}")
    out.print(f"{end['state']} at step {kept[-1].step}: {job.run.path}")
    if end["state"] == "stopped":
        printing.next_steps(out, f"mio-local resume {printing.called(job.run)}")
    else:
        own = [f"mio-local {command} {printing.called(job.run)}" for command in ("show", "plot", "chat")]
        printing.next_steps(out, *own, *_use(job))
    return 0


def _use(job: Job) -> list[str]:
    if job.facts["backend"] == "mlx":
        model, adapter = (visible(shlex.quote(str(part))) for part in (job.recipe.model.name, job.run.adapter))
        return [f"mlx_lm.generate --model {model} --adapter-path {adapter} --prompt '...'"]
    return [printing.in_python("peft", "AutoPeftModelForCausalLM", job.run.adapter)]
