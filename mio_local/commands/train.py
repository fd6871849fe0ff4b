"""`mio-local train`: a new run in the foreground. Ctrl-C finishes the step and saves; a second one ends at once.
`mio-local resume RUN`: go on from the last checkpoint, as if nothing had happened; or go on after a pause.

Either may be in the background instead, now or once another run is over.
"""

import argparse
import shlex
import shutil
from pathlib import Path

from mio_local import printing
from mio_local.backends import load_backend
from mio_local.errors import MioError, RecipeError, RunError, of_the_machine
from mio_local.flags import recipe_from
from mio_local.progress import Report
from mio_local.ranks.joining import served, with_ranks
from mio_local.ranks.link import RankLost
from mio_local.recipe import Recipe, build, read_toml
from mio_local.reports.verdict import verdict
from mio_local.runs import directory
from mio_local.runs.control import Control, request
from mio_local.runs.directory import LIVE, Run, runs_folder
from mio_local.runs.history import read
from mio_local.runs.launch import launch, lay_out
from mio_local.runs.naming import located, own
from mio_local.runs.queue import ahead_of, busy, last_in_line, left
from mio_local.runs.stages import stages
from mio_local.storage.writing import PRIVATE, write_atomically
from mio_local.text import visible
from mio_local.tracking.trackers import check_tracker
from mio_local.training.job import Job
from mio_local.training.loop import train
from mio_local.training.prepare import check, start
from mio_local.training.reopen import relocate, reopen, settled


def main(arguments: argparse.Namespace) -> int:
    """Train or resume; 0 when the run is done or was asked to stop, or is in the background."""
    if served(arguments):  # as another rank than the first
        return 0
    return resume(arguments) if arguments.command == "resume" else begin(arguments)


def begin(arguments: argparse.Namespace) -> int:
    """Train a new run."""
    folder = runs_folder(arguments.runs)
    recipe = with_ranks(located(recipe_from(arguments), folder, now=not arguments.after))
    check_tracker(recipe.train.track)  # a background run could say it only in its log
    out = printing.console()
    if arguments.after:
        return begin_after(arguments, recipe, own(folder, arguments.after), out)
    queue = stages([recipe], folder, [arguments.name])
    warn_beside(folder, recipe.backend.device, out)
    if arguments.detach:
        return in_background([lay_out(one, folder, name) for one, name in queue], arguments.force, None, out)
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


def begin_after(arguments: argparse.Namespace, recipe: Recipe, ahead: Run, out: printing.Console) -> int:
    """Put a new run in line behind `ahead`, once what can be looked at now has been: nobody may be here when its turn
    comes."""
    folder = ahead.path.parent
    queue = stages([recipe], folder, [arguments.name])
    with printing.preparing(out) as report:
        check(queue[0][0], report)
    return in_background([lay_out(one, folder, name) for one, name in queue], arguments.force, ahead, out)


def in_background(made: list[Run], forced: bool, after: Run | None, out: printing.Console) -> int:
    """Let runs that were just laid out be trained; nothing is left of them where that cannot be."""
    try:
        ahead = launch(made, *["--force"] * forced, after=after)
    except (MioError, OSError):
        for run in made:
            shutil.rmtree(run.path, ignore_errors=True)
        raise
    then = f", then {made[1].name}" if made[1:] else ""
    told_of_launch(f"{made[0].name} trains in the background", then, made[0], ahead, out)
    return 0


def told_of_launch(words: str, then: str, run: Run, ahead: str, out: printing.Console) -> None:
    """Say that a run is in the background, or waits for `ahead`, and what to type next."""
    out.print(f"{words}{f' once {visible(ahead)} is over' if ahead else ''}{then}")
    if ahead:
        status = Run(run.path.with_name(ahead)).read_status()
        if status["state"] == "queued" and not status["waits"]:
            out.print(f"! {visible(ahead)} is queued, and nobody starts it")
            printing.next_steps(out, f"mio-local resume --all{directory.elsewhere(run.path.parent)}")
            return
    printing.next_steps(out, *printing.ways(run))


def warn_beside(folder: Path, device: str, out: printing.Console, but: Run | None = None) -> None:
    """Say which run trains on this device now."""
    found = [run for run in busy(folder) if run != but and run.read_status()["state"] in LIVE]
    found = [run for run in found if _may_be(device, _device(run))]
    if found and (last := last_in_line(folder)):
        names = " and ".join(visible(run.name) for run in found) + (" train" if found[1:] else " trains")
        wait = f"--after {visible(shlex.quote(last.name))}"
        out.print(f"! {names} here now: each will be slower, or lack memory; to wait for that: {wait}")


def _device(run: Run) -> str:
    try:
        return build(read_toml(run.recipe), str(run.recipe)).backend.device
    except MioError:
        return "auto"


def _may_be(one: str, other: str) -> bool:
    """Whether two names of devices may mean the same."""
    first, second = ({"gpu": "cuda:0", "cuda": "cuda:0"}.get(name, name) for name in (one, other))
    return "auto" in (first, second) or first == second


def resume(arguments: argparse.Namespace) -> int:
    """Go on with one run, or in the background with all that were left in line."""
    folder, out = runs_folder(arguments.runs), printing.console()
    if arguments.all == bool(arguments.run):
        raise RecipeError("resume: name one RUN, or all that were left in line with --all; see mio-local resume --help")
    if arguments.all:
        return resume_line(folder, out)
    run = directory.find(folder, arguments.run)
    status = run.read_status()
    if status["state"] == "paused":
        request(run.control, "resume")
        out.print(f"{run.name} goes on")
        printing.next_steps(out, f"mio-local attach {printing.called(run)}")
        return 0
    if places := _places(arguments):
        with printing.preparing(out) as report:
            relocate(run, places, report)
    if arguments.detach or arguments.after or status["waits"]:
        after = own(run.path.parent, arguments.after) if arguments.after else None
        more = [*["--force"] * arguments.force, *["--from", arguments.start] * bool(arguments.start),
                *["--devices", str(arguments.devices)] * bool(arguments.devices)]  # fmt: skip
        ahead = launch([run], *more, after=after)
        told_of_launch(f"{run.name} goes on in the background", "", run, ahead, out)
        return 0
    if not run.is_locked():
        settled(run, forced=arguments.force)  # before anything is touched
        warn_beside(folder, _device(run), out, run)
    with run.locked():
        control = Control(run.control)  # a stop that is asked for from here on is obeyed
        with printing.preparing(out) as report:
            job = _prepared(run, report, arguments.start, forced=arguments.force, devices=arguments.devices)
        out.print(f"resuming {run.name} from step {job.progress.step}")
        return watch(job, out, control)


def _places(arguments: argparse.Namespace) -> dict[str, str]:
    """Where a run that goes on is to look for what it names, by key."""
    given = {"model.name": arguments.model, "data.source": arguments.data, "data.eval_source": arguments.eval_data}
    return {key: place for key, place in given.items() if place} | {
        key: place for key, _, place in (text.partition("=") for text in arguments.assignments)
    }


def resume_line(folder: Path, out: printing.Console) -> int:
    """Put all runs that were left in line back, in their order, behind what is in line now."""
    found = left(folder)
    if not found:
        out.print(f"no run was left in line in {visible(str(folder))}")
        return 0
    last = last_in_line(folder)
    for together in found:
        needed = Run(folder / ahead_of(together[0].read_status()))
        stage = together[0].read_status().get("needs") is True and needed.is_locked()
        ahead = launch(together, after=needed if stage else last)
        names = ", then ".join(visible(run.name) for run in together)
        out.print(f"{names}: {f'once {visible(ahead)} is over' if ahead else 'now'}")
        last = together[-1]
    printing.next_steps(out, f"mio-local runs{directory.elsewhere(folder)}")
    return 0


def _prepared(run: Run, report: Report, start: str, *, forced: bool, devices: int) -> Job:
    """As `reopen`; meanwhile the status names this process, which a force stop must reach, not the one that is gone."""
    before = ""

    def told(what: str, done: int, total: int) -> None:
        nonlocal before
        if not before:
            before = run.status.read_text(encoding="utf-8") if run.status.exists() else "{}"
            run.update_status(state="starting", doing=what, reason="")
        report(what, done, total)

    try:
        return reopen(run, told, start, forced=forced, devices=devices)
    except BaseException:  # an interrupt too
        if before:
            write_atomically(run.status, before, PRIVATE)
        raise


def watch(job: Job, out: printing.Console, control: Control | None = None) -> int:
    """Train `job` while showing it; `control` is `train`'s. Raises RunError when it fails."""
    facts, name = job.facts, job.run.name
    what = "prompts" if job.recipe.train.rounds else "pairs"
    out.print(
        f"run {name}: {facts['objective']} (beta {facts['beta']:g}, {facts['reduction']}) on {facts['backend']}, "
        f"{facts['device']}, {facts.get('dtype', job.recipe.model.dtype)}; {facts['pairs']:,} {what}, "
        f"{facts['held_out']:,} held out; {facts['trainable']:,} trainable weights"
    )
    try:
        kept = printing.follow(train(job, control), job.total_steps, out)
    except RankLost as error:
        raise RunError(f"run {name}: {error}; go on with: mio-local resume {printing.called(job.run)}") from None
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
    if judged := verdict(read(job.run)):
        out.print(printing.verdict_line(judged))
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
    place = Path(job.info["model_folder"])
    return [printing.with_peft(load_backend("cuda").loader(place), place, job.run.adapter)]
