"""The model card that goes with a trained adapter or model: what it is, what it comes from, and how well it did."""

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

from mio_local.history import History, figure
from mio_local.losses import LOSSES
from mio_local.recipe import PATHS, Recipe

METHODS = {"mio": "MIO (Mutual Information Optimization, arXiv 2506.22578)"}
LIBRARY = {"mlx": "mlx", "peft": "peft", "merged": "transformers", "gguf": "gguf"}
FIGURES = (
    ("loss", "loss", ".4f"),
    ("delta/chosen", "chosen answers' log-prob against the start, nats per answer", "+.3f"),
    ("delta/rejected", "rejected answers' log-prob against the start, nats per answer", "+.3f"),
    ("rewards/accuracies", "preference accuracy", ".3f"),
    ("mi/js", "mutual information, Jensen-Shannon estimate", ".4f"),
)


@dataclass(frozen=True)
class Licences:
    """What base and data may be used for, as their pages say; empty where that is unknown."""

    base: str
    data: str


def card(history: History, info: Mapping[str, Any], licences: Licences, to: str, repository: str) -> str:
    """The card as Markdown behind its YAML. Texts from the run are written as text."""
    import jinja2

    recipe = public(history.recipe)
    environment = jinja2.Environment(undefined=jinja2.StrictUndefined, trim_blocks=True, keep_trailing_newline=True)
    template = environment.from_string(files("mio_local").joinpath("templates/card.md").read_text(encoding="utf-8"))
    evaluations = history.of("eval")
    first, last = (evaluations[0], evaluations[-1]) if evaluations else ({}, {})
    loss = recipe.loss
    template.globals["figure"] = figure
    return template.render(
        front=_front(recipe.model.name, recipe.data.source, licences, to, loss.name),
        repository=repository,
        recipe=recipe,
        method=METHODS.get(loss.name, loss.name.upper()),
        target=LOSSES[loss.name].target(loss.beta),
        kind="DoRA" if recipe.lora.dora else "LoRA",
        layers=len(info.get("adapted_layers", [])),
        revision=info.get("model_revision", ""),
        digest=info.get("data_digest", ""),
        pairs=info.get("facts", {}).get("pairs", "?"),
        held_out=info.get("facts", {}).get("held_out", "?"),
        versions=(info.get("sessions") or [{}])[-1].get("versions", {}),
        licences=licences,
        steps=last.get("step", 0),
        figures=[(words, figure(first.get(key), form), figure(last.get(key), form)) for key, words, form in FIGURES],
        benchmarks=history.of("benchmark"),
        frozen=recipe.dump(),
        to=to,
    )


def public(recipe: Recipe) -> Recipe:
    """The recipe with local paths cut to their last part: where files lie on this machine is nobody's business."""
    for section, key in PATHS:
        table = getattr(recipe, section)
        if (value := getattr(table, key)) and not on_hub(value):
            recipe = recipe.model_copy(update={section: table.model_copy(update={key: Path(value).name})})
    return recipe


def _front(model: str, data: str, licences: Licences, to: str, loss: str) -> str:
    """The YAML that the hub reads."""
    import yaml

    meta: dict[str, Any] = {"library_name": LIBRARY[to], "pipeline_tag": "text-generation"}
    if licences.base:
        meta["license"] = licences.base
    if on_hub(model):
        meta |= {"base_model": model, "base_model_relation": "adapter" if to in ("mlx", "peft") else "finetune"}
    if on_hub(data):
        meta["datasets"] = [data]
    return yaml.safe_dump({**meta, "tags": ["mio-local", "preference", loss]}, sort_keys=False).strip()


def on_hub(name: str) -> bool:
    """Whether a name can be one of the hub's."""
    return name.count("/") == 1 and not name.startswith(("/", ".", "~"))
