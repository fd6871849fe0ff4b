"""A saved adapter with the base it is for: found, and loaded to be used rather than trained."""

import os
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from mio_local.adapters.adapter import SavedAdapter, draw_adapter, read_adapter
from mio_local.backends import Backend, Model, load_backend, resolve_backend
from mio_local.errors import BackendError, ModelError, RunError, nearest
from mio_local.models.locate import model_folder
from mio_local.recipe import BackendSettings, ModelSettings, Recipe, TrainSettings, build, read_toml
from mio_local.runs.directory import Run, find
from mio_local.runs.naming import missing
from mio_local.training.integrity import check_base

FINAL = "final"
ANYWHERE = BackendSettings()
KINDS = {"adapter": "an adapter's folder", "run": "a run", "model": "a model"}


@dataclass(frozen=True)
class Base:
    """A base model: its folder, how it is loaded and where, and how conversations with it are written."""

    base: Path
    model: ModelSettings
    backend: BackendSettings
    template: str = "auto"
    system: str = ""
    template_args: dict[str, Any] = field(default_factory=dict)

    def open(self) -> Backend:
        """The backend that it was trained on; where that is not installed, another."""
        try:
            return load_backend(self.backend.name)
        except BackendError:
            return load_backend("auto")

    def device(self, backend: Backend) -> str:
        """The device that it was trained on; where that is not here, the CPU."""
        try:
            backend.probe(self.backend.device)
        except BackendError:
            return "cpu"
        return self.backend.device


@dataclass(frozen=True)
class Source(Base):
    """An adapter on its base. `title` is what to call it; `run` is None where it is a folder of somebody else's."""

    saved: SavedAdapter = field(kw_only=True)
    title: str = field(kw_only=True)
    run: Run | None = field(default=None, kw_only=True)

    def load(self, backend: Backend, reference: SavedAdapter | None = None) -> Model:
        """The base with the adapter as the policy; its reference is the base alone, or with another adapter on it.
        Raises ModelError where the adapter does not fit the base."""
        loaded = backend.load(self.base, self.model, self.device(backend), grad_checkpoint=False, seed=0)
        saved = self.saved.fitted(loaded.linear_layers())
        first = reference.fitted(loaded.linear_layers()) if reference else None
        slots = loaded.add_lora(saved.settings, TrainSettings(), saved.names)
        saved.check_shapes(slots)
        loaded.set_adapter(first.weights if first else draw_adapter(slots, 0))
        loaded.set_adapter(saved.weights, reference=False)
        return loaded


def kind_of(runs: Path, name: str) -> Literal["adapter", "run", "model"]:
    """What `name` is: a folder with an adapter, a run, or a model, in this order; what is not here may be on the hub.
    Raises RunError for none of them."""
    folder = Path(os.path.expanduser(name))
    if (folder / "adapter_config.json").exists():
        return "adapter"
    if Run(folder).exists() or Run(runs / name).exists():
        return "run"
    if (folder / "config.json").exists():
        return "model"
    if folder.is_dir():
        raise RunError(f"{name}: holds no run (recipe.toml), adapter (adapter_config.json) or model (config.json)")
    if "/" not in name:
        find(runs, name)  # raises, with the nearest name
    if name.startswith(("/", ".", "~")) or name.count("/") > 1:
        raise RunError(f"{name}: no such folder of a run, an adapter or a model")
    return "model"


def named(
    runs: Path, name: str, wanted: str = FINAL, model: str = "", backend: BackendSettings = ANYWHERE
) -> Base | Source:
    """The run, adapter or model called `name`.

    `wanted` is a run's checkpoint, `model` the base of an adapter that does not name it, or where a run's base is now,
    which the run then remembers. `backend` goes before what it
    was trained on, and must then be here; a run keeps the library. Raises MioError.
    """
    kind = kind_of(runs, name)
    if kind != "run" and wanted != FINAL:
        raise RunError(f"--checkpoint {wanted}: {name} is {KINDS[kind]}, which has none; name a run")
    if kind == "model" and model:
        raise RunError(f"--model {model}: {name} is {KINDS[kind]} itself; leave it out")
    if kind == "run" and backend.name != "auto":
        raise RunError(f"--backend {backend.name}: {name} is a run, which keeps its library; leave it out")
    if kind == "model":
        settings = ModelSettings(name=name)
        _, recipe, _ = resolve_backend(Recipe(model=settings, backend=backend))
        return Base(model_folder(settings), settings, recipe.backend)
    if kind == "run" and model and not (run := find(runs, name)).is_locked():
        from mio_local.training.reopen import relocate  # with all that trains

        relocate(run, {"model.name": model})
    found = of_run(find(runs, name), wanted) if kind == "run" else _foreign(Path(os.path.expanduser(name)), model)
    given = {key: value for key, value in (("name", backend.name), ("device", backend.device)) if value != "auto"}
    found = replace(found, backend=found.backend.model_copy(update=given))
    if "name" in given:
        load_backend(backend.name)
    if "device" in given:
        found.open().probe(backend.device)
    return found


def of_run(run: Run, checkpoint: str = FINAL) -> Source:
    """A run's adapter: the final one, `best`, or that of a step. Raises RunError where the run has none yet."""
    recipe = build(read_toml(run.recipe), str(run.recipe))
    saved = read_adapter(_checkpoint(run, checkpoint))
    key, told = missing(run, recipe)
    if key == "model.name":
        raise ModelError(told)
    base = model_folder(recipe.model)
    check_base(run, run.read_info(), base)
    data = recipe.data
    return Source(
        base, recipe.model, recipe.backend, data.template, data.system, data.template_args,
        saved=saved, title=run.name, run=run,
    )  # fmt: skip


def _checkpoint(run: Run, wanted: str) -> Path:
    there = {"best": run.checkpoints / "best", **{file.name: file / "adapter" for file in run.saved()}}
    there = {name: folder for name, folder in {**there, FINAL: run.adapter}.items() if folder.exists()}
    if not there:
        raise RunError(f"run {run.name}: has no adapter yet; it is saved at the first checkpoint")
    if wanted not in (FINAL, *there):
        raise RunError(f"run {run.name}: no checkpoint {wanted}{nearest(wanted, there)}; there are {', '.join(there)}")
    return there.get(wanted, list(there.values())[-1])  # a run that is not done yet: its newest


def _foreign(folder: Path, model: str) -> Source:
    saved = read_adapter(folder)
    settings = ModelSettings(name=model or saved.base)
    if not settings.name:
        raise ModelError(f"{folder}: does not say for which base it is; name it with --model")
    backend = BackendSettings(name={"peft": "cuda"}.get(saved.kind, "mlx"))
    return Source(model_folder(settings), settings, backend, saved=saved, title=folder.resolve().name)
