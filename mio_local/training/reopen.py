"""From a run directory to a job that goes on from the last checkpoint, or from the start where there is none."""

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mio_local.adapters.adapter import SavedAdapter, read_adapter
from mio_local.backends import resolve_backend
from mio_local.errors import RunError
from mio_local.memory.rehearsal import DoesNotFit, Rehearsal
from mio_local.models.locate import model_folder
from mio_local.process import without
from mio_local.progress import Report, silent
from mio_local.ranks.joining import with_ranks
from mio_local.ranks.sharding import check_shard, whole_on_one
from mio_local.recipe import Recipe, build, read_toml
from mio_local.runs.directory import Run
from mio_local.runs.naming import in_places, missing, write_places
from mio_local.tracking.trackers import NONE, check_tracker
from mio_local.training import checkpoint
from mio_local.training.inputs import tokenised
from mio_local.training.integrity import check_base, check_data, check_info, check_links, check_recipe, check_start
from mio_local.training.job import Job, session
from mio_local.training.prepare import begin, in_words
from mio_local.training.trainable import adapt, load, try_out

DEVICES = "devices"  # in run.json: how many it was trained on last


def settled(run: Run, *, forced: bool = False) -> tuple[Recipe, dict[str, Any]]:
    """The recipe and run.json of a run that can go on, touching nothing. Raises MioError for one that cannot, or may
    train on another machine unless `forced`."""
    check_links(run)
    run.unfinished(forced=forced)
    check_recipe(run)
    recipe, info = build(read_toml(run.recipe), str(run.recipe)), run.read_info()
    check_tracker(recipe.train.track, f", or write track = \"{NONE}\" under [train] of {run.recipe}")
    if not info.get("waiting"):  # else made by `launch`, and nobody trained it yet
        check_info(run, info)
    return recipe, info


def reopen(
    run: Run, report: Report = silent, start: str = "", *, forced: bool = False, devices: int = 0
) -> Job:  # fmt: skip
    """Prepare to go on with a run whose lock is held, from its last checkpoint, or the one called `start`. Raises
    MioError where it cannot go on exactly; `forced` goes on with events, and from a first loss, that are not what they
    must be. With `devices` it goes on with as many, from here on; 0 is as before.
    """
    recipe, info = settled(run, forced=forced)
    recipe = whole_on_one(with_ranks(recipe, devices or info.get(DEVICES, 0)))
    if info.get("waiting"):
        job = begin(run, report, recipe.backend.devices)
        job.forced = forced
        return job
    if told := missing(run, recipe)[1]:
        raise RunError(told)
    checkpoint.choose(run, start, forced=forced)
    saved = run.saved()
    report("loading the backend", 0, 0)
    backend, resolved, device = resolve_backend(recipe)
    check_shard(resolved)
    without(*backend.unused)
    tokens, place, prompts = tokenised(recipe, info.get("created", time.time()), report)
    # not checked against the estimate: the run's settings cannot be changed any more
    rehearsal = Rehearsal.of(recipe, backend.name, device, place, tokens.train, tokens.held_out)
    check_data(run, info, tokens.digest)
    check_base(run, info, place, report)
    report("loading the model", 0, 0)
    initial = None if saved else _began_with(run, recipe, info)
    try:
        with rehearsal.guarded():
            model = load(backend, recipe, place)
            adapt(model, recipe, info["adapted_layers"], initial)
            savings, _ = try_out(model, recipe, tokens, rehearsal, report)
    except DoesNotFit as error:
        raise RunError(f"run {run.name}: {error}; a resumed run keeps its settings: free some, or start anew") from None
    job = Job(run, recipe, model, tokens, info, savings, rehearsal, prompts=prompts, forced=forced)
    if saved:
        job.progress = checkpoint.load(saved[-1], model)
    info[DEVICES] = recipe.backend.devices
    info["facts"] = {**info["facts"], "device": in_words(device, recipe)}
    info["sessions"] = [*info.get("sessions", []), session(backend, job.progress.step)]
    run.write_info(info)
    return job


def relocate(run: Run, places: Mapping[str, str], report: Report = silent) -> None:
    """Let a run look elsewhere for its base, its pairs or other files from now on, {"section.key": path}: on a machine
    that it was copied to, say. What they hold must be what it was trained on. Raises MioError, OSError."""
    check_recipe(run)
    info = run.read_info()
    recipe = in_places(build(read_toml(run.recipe), str(run.recipe)), places).absolute()
    place = model_folder(recipe.model)
    if "weights" in info and "model.name" in places:
        check_base(run, info, place, report)
    if "data_digest" in info and set(places) - {"model.name"} and not missing(run, recipe)[0]:
        check_data(run, info, tokenised(recipe, info.get("created", time.time()), report).tokens.digest)
    sections = {key: getattr(getattr(recipe, key.partition(".")[0]), key.partition(".")[2]) for key in places}
    write_places(run, sections, str(place) if "model.name" in places else "")


def _began_with(run: Run, recipe: Recipe, info: dict[str, Any]) -> SavedAdapter | None:
    """The adapter that the run continues from; None for a fresh one."""
    if not recipe.lora.init_adapter:
        return None
    initial = read_adapter(Path(recipe.lora.init_adapter))
    check_start(run, info, initial)
    return initial
