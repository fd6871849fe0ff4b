"""A saved adapter with the base it is for: found, and loaded to be used rather than trained."""

import json
from dataclasses import dataclass, field
from pathlib import Path

from mio_local.adapters import SavedAdapter, draw_adapter, read_adapter
from mio_local.backend import Backend, Model, load_backend
from mio_local.errors import BackendError, ModelError, RunError, nearest
from mio_local.models import model_folder, weights_sizes
from mio_local.recipe import BackendSettings, LoraSettings, ModelSettings, TrainSettings, build, read_toml
from mio_local.runs import Run, find

FINAL = "final"


@dataclass(frozen=True)
class Base:
    """A base model: its folder, how it is loaded and where, and how conversations with it are written."""

    base: Path
    model: ModelSettings
    backend: BackendSettings
    template: str = "auto"
    system: str = ""

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
        self.saved.check_layers(loaded.linear_layers())
        settings = LoraSettings(rank=self.saved.rank, alpha=self.saved.alpha, dora=self.saved.dora)
        slots = loaded.add_lora(settings, TrainSettings(), self.saved.names)
        self.saved.check_shapes(slots)
        loaded.set_adapter(reference.weights if reference else draw_adapter(slots, 0))
        loaded.set_adapter(self.saved.weights, reference=False)
        return loaded


def source(runs: Path, name: str, checkpoint: str = FINAL, model: ModelSettings | None = None) -> Source:
    """The adapter of a run, or the one in a folder, for which `model` names the base. Raises MioError."""
    folder = Path(name).expanduser()
    if (folder / "adapter_config.json").exists():
        return _foreign(folder, model or ModelSettings())
    return of_run(find(runs, name), checkpoint)


def of_run(run: Run, checkpoint: str = FINAL) -> Source:
    """A run's adapter: the final one, `best`, or that of a step. Raises RunError where the run has none yet."""
    recipe = build(read_toml(run.recipe), str(run.recipe))
    saved = read_adapter(_checkpoint(run, checkpoint))
    base = model_folder(recipe.model)
    if weights_sizes(base) != run.read_info().get("weights"):
        raise RunError(f"run {run.name}: the weights in {base} are not those it was trained on; restore them first")
    data = recipe.data
    return Source(base, recipe.model, recipe.backend, data.template, data.system, saved=saved, title=run.name, run=run)


def _checkpoint(run: Run, wanted: str) -> Path:
    there = {"best": run.checkpoints / "best", **{file.name: file / "adapter" for file in run.saved()}}
    there = {name: folder for name, folder in {**there, FINAL: run.adapter}.items() if folder.exists()}
    if not there:
        raise RunError(f"run {run.name}: has no adapter yet; it is saved at the first checkpoint")
    if wanted not in (FINAL, *there):
        raise RunError(f"run {run.name}: no checkpoint {wanted}{nearest(wanted, there)}; there are {', '.join(there)}")
    return there.get(wanted, list(there.values())[-1])  # a run that is not done yet: its newest


def _foreign(folder: Path, model: ModelSettings) -> Source:
    if not model.name:
        config = json.loads((folder / "adapter_config.json").read_text(encoding="utf-8"))
        named = str(config.get("base_model_name_or_path") or config.get("model") or "")
        if not named:
            raise ModelError(f"{folder}: does not say for which base it is; name it with --model")
        model = model.model_copy(update={"name": named})
    saved = read_adapter(folder)
    backend = BackendSettings(name={"peft": "cuda"}.get(saved.kind, "mlx"))
    return Source(model_folder(model), model, backend, saved=saved, title=folder.resolve().name)
