"""From a recipe to a job that is ready to train.

Everything that can be wrong is looked at before the run directory is made, cheapest first, so that a mistake costs
seconds and leaves nothing behind.
"""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mio_local.adapters.adapter import inherit, read_adapter
from mio_local.backends import Backend, Device, resolve_backend
from mio_local.data.stepping.step_order import ORDER
from mio_local.data.tokenise import Tokens
from mio_local.memory.rehearsal import Rehearsal
from mio_local.models.locate import pinned, weights_sizes
from mio_local.process import without
from mio_local.progress import Report, silent
from mio_local.ranks.joining import with_ranks
from mio_local.ranks.sharding import check_shard
from mio_local.recipe import Recipe, build, read_toml
from mio_local.runs import directory
from mio_local.runs.directory import Run
from mio_local.runs.naming import located
from mio_local.storage.writing import PRIVATE, write_atomically
from mio_local.tracking.trackers import check_tracker
from mio_local.training.exits import closed, exit_lines
from mio_local.training.fingerprint import adapter_digest, reference_name, weights_digest
from mio_local.training.inputs import tokenised
from mio_local.training.job import Job, session
from mio_local.training.optimizations import Optimizations
from mio_local.training.rounds.begin_rounds import judge_for
from mio_local.training.trainable import adapt, check_finite, layers_of, load, try_out


def start(recipe: Recipe, folder: Path, name: str, report: Report = silent) -> Job:
    """Prepare a new run, called `name` or, for "", by its model and loss. Raises MioError for anything wrong, before
    anything is written into `folder`."""
    directory.check_folder(folder)
    if name:
        directory.claim(folder, name)  # a name that is taken is told before minutes of work
    recipe = located(recipe, folder)

    def choose(ready: Recipe) -> Run:
        stem = f"{Path(ready.model.name).name}-{ready.loss.name}"
        return directory.claim(folder, name or directory.free_name(folder, stem))

    job = prepare(recipe, choose, report)
    directory.create(job.run, job.recipe.dump(), job.info)
    return job


def check(recipe: Recipe, report: Report = silent) -> None:
    """Look at all that can be wrong with a recipe before its model is loaded, for which there may be no room now.
    Raises MioError."""
    report("finding the device", 0, 0)
    backend, recipe, _ = resolve_backend(recipe.absolute())
    check_shard(recipe)
    if judge := judge_for(recipe):
        judge.close()
    without(*backend.unused)
    tokenised(recipe, time.time(), report)


def begin(run: Run, report: Report = silent, devices: int = 0) -> Job:
    """Prepare a run whose directory is there and which never trained, on as many `devices` or, for 0, on its recipe's.
    Raises MioError for anything wrong."""
    recipe = with_ranks(build(read_toml(run.recipe), str(run.recipe)), devices)
    job = prepare(recipe, lambda _: run, report, run.read_info().get("created"))
    text = job.recipe.dump()
    run.write_info(run.read_info(), text)  # whenever this is killed, the two files belong together
    write_atomically(run.recipe, text, PRIVATE)
    run.write_info(job.info)
    return job


def prepare(recipe: Recipe, choose: Callable[[Recipe], Run], report: Report, created: float | None = None) -> Job:
    """Find, tokenise and load all that `recipe` names, as of `created`, for the run that `choose` gives at the end.

    Writes nothing but what caches keep: a download, digests of weights. Raises MioError.
    """
    created = created or time.time()
    check_tracker(recipe.train.track)
    report("finding the device", 0, 0)
    backend, recipe, device = resolve_backend(recipe.absolute())
    check_shard(recipe)
    judge = judge_for(recipe)
    try:
        job = _prepared(recipe, backend, device, choose, report, created)
    except BaseException:  # an interrupt too
        if judge:
            judge.close()
        raise
    job.judge = judge
    return job


def _prepared(
    recipe: Recipe, backend: Backend, device: Device, choose: Callable[[Recipe], Run], report: Report, created: float
) -> Job:
    """As `prepare`, on a device that was found."""
    without(*backend.unused)
    initial = read_adapter(Path(recipe.lora.init_adapter)) if recipe.lora.init_adapter else None
    recipe = inherit(recipe, initial) if initial else recipe
    tokens, place, prompts = tokenised(recipe, created, report)
    rehearsal = Rehearsal.of(recipe, backend.name, device, place, tokens.train, tokens.held_out)
    rehearsal.check()
    recipe = recipe.model_copy(update={"model": pinned(recipe.model, place)})
    report("loading the model", 0, 0)
    with rehearsal.guarded():
        model = load(backend, recipe, place)
        names = layers_of(model, recipe, initial)
        left_out = model.left_out()
        told = exit_lines(recipe, closed(recipe, place, names, left_out), names, left_out)
        trainable = adapt(model, recipe, names, initial)
        check_finite(model, tokens, place)
        savings, rehearsal = try_out(model, recipe, tokens, rehearsal, report)
        recipe = recipe.model_copy(update={"train": rehearsal.recipe.train})
    reference = ""
    if savings.speed.reference_cache:
        reference = reference_name(recipe, backend, device, place, initial, savings.on, report)
    weights = weights_digest(place, report)
    run = choose(recipe)  # last, as another run may take a free name meanwhile
    info = {
        "name": run.name,
        "created": created,
        "model_folder": str(place),
        "model_revision": recipe.model.revision,
        "weights": weights_sizes(place),
        "weights_digest": weights,
        "data_digest": tokens.digest,
        "order": ORDER,
        "seed": recipe.train.seed,
        "adapted_layers": names,
        "reference": reference,
        "init_adapter": adapter_digest(initial) if initial else "",
        "facts": _facts(recipe, backend, in_words(device, recipe), tokens, trainable, savings),
        "sessions": [session(backend, 0)],
    }
    return Job(run, recipe, model, tokens, info, savings, rehearsal, prompts=prompts, told=told)


def in_words(device: Device, recipe: Recipe) -> str:
    """What it is trained on, in words: of several devices the first one's name."""
    count = recipe.backend.devices
    return f"{count} x {device.name}" if count > 1 else device.name


def _facts(
    recipe: Recipe, backend: Backend, device: str, tokens: Tokens, trainable: int, savings: Optimizations
) -> dict[str, Any]:
    """What the `started` event says."""
    return {
        "backend": backend.name,
        "device": device,
        "dtype": "float32" if recipe.model.dtype == "auto" else recipe.model.dtype,
        "objective": recipe.loss.name,
        "beta": recipe.loss.beta,
        "reduction": recipe.loss.reduction,
        "layout": tokens.layout,
        "pairs": tokens.counts.pairs,
        "held_out": len(tokens.held_out),
        "truncated": tokens.counts.truncated,
        "skipped": tokens.counts.skipped,
        "trainable": trainable,
        "levers": savings.on,
        "inverse_tokens": tokens.inverse_tokens,
        "vocabulary": len(tokens.chat.tokenizer),
    }
