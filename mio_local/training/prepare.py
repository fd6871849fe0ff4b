"""From a recipe, or from a run directory, to a job that is ready to train.

Everything that can be wrong is looked at before the run directory is made, cheapest first, so that a mistake costs
seconds and leaves nothing behind.
"""

import contextlib
import importlib.metadata
import json
import os
import platform
import shutil
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mio_local import __version__
from mio_local.adapters.adapter import SavedAdapter, choose_layers, draw_adapter, read_adapter
from mio_local.backends import Backend, Device, Model, load_backend
from mio_local.blas import cores, threads
from mio_local.data.collate import ORDER
from mio_local.data.questions import read_tasks
from mio_local.data.tokenise import Tokens, tokenise
from mio_local.data.tokenizer import padding
from mio_local.errors import BackendError, RunError
from mio_local.memory.fitting import allowed, resident
from mio_local.memory.rehearsal import NoRoom, Room
from mio_local.models.locate import weights_sizes
from mio_local.progress import Report, silent
from mio_local.recipe import Recipe, build, read_toml
from mio_local.runs import directory
from mio_local.runs.directory import Run
from mio_local.training import checkpoint
from mio_local.training.fingerprint import adapter_digest, fingerprint, weights_digest
from mio_local.training.job import Job
from mio_local.training.reference import Store
from mio_local.training.savings import SCORED, Levers, settle
from mio_local.training.unchanged import check_base, check_data, check_start


def start(recipe: Recipe, folder: Path, name: str, report: Report = silent) -> Job:
    """Prepare a new run. Raises MioError for anything wrong, before anything is written."""
    directory.check_folder(folder)
    run = directory.claim(folder, name) if name else None
    ready = prepare(recipe, report)
    if run is None:
        stem = f"{Path(ready.recipe.model.name).name}-{ready.recipe.loss.name}"
        run = directory.claim(folder, directory.free_name(folder, stem))
    directory.create(run, ready.recipe.dump(), ready.info(run))
    return ready.job(run)


def begin(run: Run, report: Report = silent) -> Job:
    """Prepare a run whose directory is there and which never trained. Raises MioError for anything wrong."""
    ready = prepare(build(read_toml(run.recipe), str(run.recipe)), report, run.read_info().get("created"))
    directory.write_atomically(run.recipe, ready.recipe.dump())
    directory.write_atomically(run.info, json.dumps(ready.info(run), indent=2) + "\n")
    return ready.job(run)


@dataclass(frozen=True)
class Ready:
    """All that a new run needs but its directory."""

    recipe: Recipe
    backend: Backend
    device: Device
    tokens: Tokens
    place: Path
    model: Model
    names: list[str]
    trainable: int
    levers: Levers
    room: Room
    reference: str  # names the reference's log-probs among those kept on disk; empty where they are not kept
    created: float
    began: str  # names the adapter that training continues from; empty for a fresh one
    weights: str  # names the base's weights

    @property
    def facts(self) -> dict[str, Any]:
        """What the `started` event says."""
        loss, counts = self.recipe.loss, self.tokens.counts
        return {
            "backend": self.backend.name,
            "device": self.device.name,
            "objective": loss.name,
            "beta": loss.beta,
            "reduction": loss.reduction,
            "layout": self.tokens.layout,
            "pairs": counts.pairs,
            "held_out": len(self.tokens.held_out),
            "truncated": counts.truncated,
            "skipped": counts.skipped,
            "trainable": self.trainable,
            "levers": self.levers.on,
            "inverse_tokens": self.tokens.inverse_tokens,
        }

    def info(self, run: Run) -> dict[str, Any]:
        """run.json of the first session."""
        return {
            "name": run.name,
            "created": self.created,
            "model_folder": str(self.place),
            "model_revision": self.recipe.model.revision,
            "weights": weights_sizes(self.place),
            "weights_digest": self.weights,
            "data_digest": self.tokens.digest,
            "order": ORDER,
            "seed": self.recipe.train.seed,
            "adapted_layers": self.names,
            "reference": self.reference,
            "init_adapter": self.began,
            "facts": self.facts,
            "sessions": [session(self.backend, 0)],
        }

    def job(self, run: Run) -> Job:
        """The run's job."""
        return _job(run, self.recipe, self.model, self.tokens, self.facts, self.levers, self.room, self.reference)


def prepare(recipe: Recipe, report: Report, created: float | None = None) -> Ready:
    """Find, tokenise and load all that `recipe` names, as of `created`; writes nothing."""
    backend, recipe, device = resolve_backend(recipe.absolute())
    initial = read_adapter(Path(recipe.lora.init_adapter)) if recipe.lora.init_adapter else None
    if initial:
        recipe = inherit(recipe, initial)
    created = created or time.time()
    tokens, place = tokenise(recipe, report, created)
    room = room_of(recipe, backend, device, tokens, place)
    room.check()
    if place.parent.name == "snapshots":  # the hub's: the frozen recipe must name this very commit
        recipe = recipe.model_copy(update={"model": recipe.model.model_copy(update={"revision": place.name})})
    report("loading the model", 0, 0)
    with room.guarded():
        model = load(backend, recipe, place)
        if initial:
            initial.check_layers(model.linear_layers())
        names = list(initial.names if initial else choose_layers(model.linear_layers(), recipe.lora))
        trainable = adapt(model, recipe, names, initial)
        levers = try_out(model, recipe, tokens, room, report)
    reference = ""
    if levers.speed.reference_cache:
        settings = {"device": device.kind, "dtype": recipe.model.dtype, "quantize": str(recipe.model.quantize)}
        if device.kind == "cpu":  # its parts of a batch go by these
            settings |= {"checkpoint": str(recipe.train.grad_checkpoint), "dropout": str(recipe.lora.dropout > 0)}
            settings |= {"cores": str(threads() if backend.name == "cuda" else cores())}
        settings |= {"dora": str(recipe.lora.dora), "levers": " ".join(key for key in levers.on if key in SCORED)}
        reference = fingerprint(place, initial, {**settings, **backend.versions}, report)
    return Ready(
        recipe, backend, device, tokens, place, model, names, trainable, levers, room, reference, created,
        adapter_digest(initial) if initial else "", weights_digest(place, report),
    )  # fmt: skip


def reopen(run: Run, report: Report = silent) -> Job:
    """Prepare to go on with a run from its last checkpoint, or from the start where it has none; its lock is held."""
    run.unfinished()
    recipe = build(read_toml(run.recipe), str(run.recipe))
    info = run.read_info()
    if info.get("waiting"):  # made by `launch`, and nobody trained it yet
        return begin(run, report)
    if missing := [key for key in ("data_digest", "adapted_layers", "facts") if key not in info]:
        raise RunError(f"{run.info}: damaged: it lacks {missing[0]}; start a new run from {run.recipe}")
    if info.get("order") != ORDER:
        raise RunError(f"run {run.name}: a version that took pairs in another order began it, so it cannot go on "
                       f"exactly; start a new run from {run.recipe}")  # fmt: skip
    report("loading the backend", 0, 0)
    backend, _, device = resolve_backend(recipe)
    tokens, place = tokenise(recipe, report, info.get("created", time.time()))
    room = room_of(recipe, backend, device, tokens, place)  # not checked: its settings cannot be changed any more
    check_data(run, info, tokens.digest)
    check_base(run, info, place, report)
    report("loading the model", 0, 0)
    good = run.saved()
    initial = read_adapter(Path(recipe.lora.init_adapter)) if recipe.lora.init_adapter and not good else None
    if initial:
        check_start(run, info, initial)
    try:
        with room.guarded():
            model = load(backend, recipe, place)
            adapt(model, recipe, info["adapted_layers"], initial)
            levers = try_out(model, recipe, tokens, room, report)
    except NoRoom as error:
        raise RunError(f"run {run.name}: {error}; a resumed run keeps its settings: free some, or start anew") from None
    job = _job(run, recipe, model, tokens, info["facts"], levers, room, info.get("reference", ""))
    if good:
        job.progress = checkpoint.load(good[-1], model)
    info["sessions"] = [*info.get("sessions", []), session(backend, job.progress.step)]
    directory.write_atomically(run.info, json.dumps(info, indent=2) + "\n")
    return job


def resolve_backend(recipe: Recipe) -> tuple[Backend, Recipe, Device]:
    """The backend, its device, and the recipe with both named. Only `auto` falls back to PyTorch on the CPU."""
    backend = load_backend(recipe.backend.name)
    device = recipe.backend.device
    try:
        found = backend.probe(device)
    except BackendError:
        if recipe.backend.name != "auto" or device != "auto":
            raise
        device, found = "cpu", backend.probe("cpu")
    if recipe.backend.name == device == "auto" and found.kind == "cpu" and shutil.which("nvidia-smi"):
        with contextlib.suppress(BackendError):  # MLX on the CPU beside a GPU that PyTorch can use
            backend, found = _on_gpu("cuda")
    if device == "auto":
        device = found.kind
    settings = recipe.backend.model_copy(update={"name": backend.name, "device": device})
    return backend, recipe.model_copy(update={"backend": settings}), found


def _on_gpu(name: str) -> tuple[Backend, Device]:
    backend = load_backend(name)
    return backend, backend.probe("gpu")


def inherit(recipe: Recipe, initial: SavedAdapter) -> Recipe:
    """The recipe with rank, alpha and kind of the adapter that the run continues from."""
    update = {"rank": initial.rank, "alpha": initial.alpha, "dora": initial.dora}
    return recipe.model_copy(update={"lora": recipe.lora.model_copy(update=update)})


def load(backend: Backend, recipe: Recipe, place: Path) -> Model:
    """The base model on its device."""
    train, limit = recipe.train, recipe.backend.memory_limit
    if limit not in ("auto", "none"):
        backend.limit_memory(recipe.backend.device, allowed(recipe, ""))
    return backend.load(
        place, recipe.model, recipe.backend.device, grad_checkpoint=train.grad_checkpoint, seed=train.seed
    )


def adapt(model: Model, recipe: Recipe, names: Sequence[str], initial: SavedAdapter | None) -> int:
    """Put the adapter on `names`, with `initial`'s weights or fresh ones; the number of trainable weights."""
    slots = model.add_lora(recipe.lora, recipe.train, names)
    if initial:
        initial.check_shapes(slots)
    weights = initial.weights if initial else draw_adapter(slots, recipe.train.seed)
    model.set_adapter(weights)
    return sum(value.size for value in model.get_adapter().values())


def room_of(recipe: Recipe, backend: Backend, device: Device, tokens: Tokens, place: Path) -> Room:
    """The run's room, with the memory that is free now."""
    free = allowed(recipe, device.kind)
    if backend.name == "cuda" and device.kind == "cpu" and recipe.backend.memory_limit == "auto":
        free += resident() if free else 0  # the estimate counts this process whole
    return Room(recipe, backend.name, device.kind, place, tokens.train, tokens.held_out, free)


def try_out(model: Model, recipe: Recipe, tokens: Tokens, room: Room, report: Report) -> Levers:
    """The savings that the model uses from here on, once the longest pairs went through it with them."""
    pad = padding(tokens.chat.tokenizer)
    report("comparing with the plain path", 0, 0)
    levers = settle(model, recipe.speed, tokens.train, pad)
    report("trying the longest pairs", 0, 0)
    room.rehearse(model, pad, shared=levers.speed.share_prompt)
    return levers


def session(backend: Backend, step: int) -> dict[str, Any]:
    """What is worth knowing of one start of the trainer."""
    versions = {"mio-local": __version__, "python": platform.python_version(), **backend.versions}
    for package in ("transformers", "tokenizers", "numpy"):
        versions[package] = importlib.metadata.version(package)
    return {
        "started": time.time(),
        "from_step": step,
        "argv": sys.argv,
        "pid": os.getpid(),
        "platform": platform.platform(),
        "versions": versions,
    }


def _job(
    run: Run, recipe: Recipe, model: Model, tokens: Tokens, facts: dict[str, Any], levers: Levers, room: Room,
    reference: str,
) -> Job:  # fmt: skip
    questions = read_tasks(recipe.eval.tasks) if recipe.eval.tasks else []
    store = Store(reference) if reference else None
    return Job(
        run, recipe, model, tokens.chat, tokens.train, tokens.held_out, tokens.counts, facts, levers, room, store,
        questions,
    )  # fmt: skip
