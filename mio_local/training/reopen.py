"""From a run directory to a job that goes on from the last checkpoint, or from the start where there is none."""

import json
import time
from pathlib import Path
from typing import Any

from mio_local.adapters.adapter import SavedAdapter, read_adapter
from mio_local.backends import resolve_backend
from mio_local.errors import RunError
from mio_local.memory.rehearsal import DoesNotFit, Rehearsal
from mio_local.process import without
from mio_local.progress import Report, silent
from mio_local.recipe import Recipe, build, read_toml
from mio_local.runs import directory
from mio_local.runs.directory import Run
from mio_local.training import checkpoint
from mio_local.training.inputs import tokenised
from mio_local.training.integrity import check_base, check_data, check_info, check_start
from mio_local.training.job import Job, session
from mio_local.training.prepare import begin
from mio_local.training.trainable import adapt, load, try_out


def reopen(run: Run, report: Report = silent) -> Job:
    """Prepare to go on with a run whose lock is held. Raises MioError where it cannot go on exactly."""
    run.unfinished()
    recipe, info = build(read_toml(run.recipe), str(run.recipe)), run.read_info()
    if info.get("waiting"):  # made by `launch`, and nobody trained it yet
        return begin(run, report)
    check_info(run, info)
    report("loading the backend", 0, 0)
    backend, _, device = resolve_backend(recipe)
    without(*backend.unused)
    tokens, place = tokenised(recipe, info.get("created", time.time()), report)
    # not checked against the estimate: the run's settings cannot be changed any more
    rehearsal = Rehearsal.of(recipe, backend.name, device, place, tokens.train, tokens.held_out)
    check_data(run, info, tokens.digest)
    check_base(run, info, place, report)
    report("loading the model", 0, 0)
    saved = run.saved()
    initial = None if saved else _began_with(run, recipe, info)
    try:
        with rehearsal.guarded():
            model = load(backend, recipe, place)
            adapt(model, recipe, info["adapted_layers"], initial)
            savings = try_out(model, recipe, tokens, rehearsal, report)
    except DoesNotFit as error:
        raise RunError(f"run {run.name}: {error}; a resumed run keeps its settings: free some, or start anew") from None
    job = Job(run, recipe, model, tokens, info, savings, rehearsal)
    if saved:
        job.progress = checkpoint.load(saved[-1], model)
    info["sessions"] = [*info.get("sessions", []), session(backend, job.progress.step)]
    directory.write_atomically(run.info, json.dumps(info, indent=2) + "\n")
    return job


def _began_with(run: Run, recipe: Recipe, info: dict[str, Any]) -> SavedAdapter | None:
    """The adapter that the run continues from; None for a fresh one."""
    if not recipe.lora.init_adapter:
        return None
    initial = read_adapter(Path(recipe.lora.init_adapter))
    check_start(run, info, initial)
    return initial
