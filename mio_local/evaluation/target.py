"""What is evaluated: a run's adapter, an adapter in a folder, or a model without one; found, and loaded."""

import time
from dataclasses import dataclass
from pathlib import Path

from mio_local.adapters.adapter import choose_layers, draw_adapter, read_adapter
from mio_local.backends import Model, load_backend
from mio_local.data.template import Chat
from mio_local.data.tokenise import chat_of
from mio_local.errors import RunError
from mio_local.evaluation.held_out import Result
from mio_local.evaluation.loading import FINAL, Source, kind_of, named
from mio_local.recipe import BackendSettings, LoraSettings, Recipe, TrainSettings, build, read_toml
from mio_local.reports.verdict import keep_verdict
from mio_local.runs.directory import Run, called, find
from mio_local.runs.events import EventWriter
from mio_local.training import checkpoint


@dataclass(frozen=True)
class Subject:
    """`source` is None for a model without an adapter, `run` where there is no run. `recipe` is the run's, or one of
    defaults; `created` is the day of its templates; `step` is the adapter's."""

    title: str
    recipe: Recipe
    base: Path
    created: float
    source: Source | None = None
    step: int = 0
    checkpoint: str = FINAL

    @property
    def run(self) -> Run | None:
        return self.source.run if self.source else None

    def chat(self) -> Chat:
        """The tokenizer, with the run's template."""
        return chat_of(self.recipe.model, self.recipe.data, self.base, self.created)

    @property
    def own_reference(self) -> bool:
        """Whether the run's reference is not the base: it began with an adapter."""
        return bool(self.source and self.recipe.lora.init_adapter)

    def load(self, *, against_base: bool = False) -> Model:
        """The model: policy and the run's reference, or the base as reference; for a model without an adapter the same
        twice. Raises ModelError where the adapter that the run began with is gone."""
        if self.source:
            own = self.own_reference and not against_base
            began = read_adapter(Path(self.recipe.lora.init_adapter)) if own else None
            return self.source.load(self.source.open(), began)
        where = self.recipe.backend
        model = load_backend(where.name).load(self.base, self.recipe.model, where.device, grad_checkpoint=False, seed=0)
        # one, of no effect: who scores needs one
        names = choose_layers(model.linear_layers(), LoraSettings(), model.left_out())[-1:]
        model.set_adapter(draw_adapter(model.add_lora(LoraSettings(rank=1), TrainSettings(), names), 0))
        return model

    def keep(self, results: list[Result]) -> None:
        """Append the results to the run's events, and put the verdict that they make into its status. Raises RunError
        where it trains meanwhile."""
        if not self.run:
            return
        with self.run.locked():
            writer = EventWriter(self.run.events)
            try:
                for result in results:
                    writer.write(result.event(self.step, self.checkpoint))
            finally:
                writer.close()
            keep_verdict(self.run)


def subject(runs: Path, name: str, wanted: str, model: str, backend: BackendSettings) -> Subject:
    """What `loading.named` finds, with what it is evaluated by. Raises RunError for a run that trains."""
    if kind_of(runs, name) == "run" and (run := find(runs, name)).is_locked():
        raise RunError(f"run {run.name} is training; evaluate it once it is done, or after: mio-local stop "
                       f"{called(run)}")  # fmt: skip
    found = named(runs, name, wanted, model, backend)
    if isinstance(found, Source) and (run := found.run):
        recipe = build(read_toml(run.recipe), str(run.recipe))
        created = run.read_info().get("created", time.time())
        return Subject(run.name, recipe, found.base, created, found, checkpoint.step_of(run, wanted), wanted)
    recipe = Recipe(model=found.model, backend=found.backend)
    if isinstance(found, Source):
        return Subject(found.title, recipe, found.base, time.time(), found)
    return Subject(name, recipe, found.base, time.time())
