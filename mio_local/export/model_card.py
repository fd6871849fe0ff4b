"""The model card that goes with a trained adapter or model: what it is, what it comes from, and how well it did."""

import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

from markupsafe import Markup

from mio_local.objectives.losses import answer_target
from mio_local.recipe import PATHS, Recipe
from mio_local.reports.markdown import fenced, plain
from mio_local.runs.fields import adapted, benchmark, figure, listed, number, table, text
from mio_local.runs.history import History

METHODS = {"mio": "MIO (Mutual Information Optimization, arXiv 2506.22578)"}
NOWHERE = ("", "auto", "none")  # what a setting says in place of a path
LIBRARY = {"mlx": "mlx", "peft": "peft", "merged": "transformers"}
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


def card(
    history: History, info: Mapping[str, Any], licences: Licences, to: str, repository: str, step: int, *,
    pictured: bool,
) -> str:  # fmt: skip
    """The card of the adapter of `step`, as Markdown behind its YAML. Texts from the run are written as text."""
    import jinja2

    recipe, began = public(history.recipe), bool(history.recipe.lora.init_adapter)
    environment = jinja2.Environment(
        undefined=jinja2.StrictUndefined, trim_blocks=True, keep_trailing_newline=True, finalize=plain
    )
    file = files("mio_local.export").joinpath("templates/card.md")
    template = environment.from_string(file.read_text(encoding="utf-8"))
    sessions = listed(info.get("sessions"))
    versions = table(table(sessions[-1] if sessions else {}).get("versions"))
    facts = table(info.get("facts")) | history.last("started")
    return template.render(
        front=Markup(_front(recipe, licences, to)),
        title=repository.rpartition("/")[2],
        recipe=recipe,
        stage=_stage(recipe, began=began),
        began=began,
        adapted=adapted(info.get("adapted_layers")),
        revision=text(info.get("model_revision")),
        digest=text(info.get("data_digest"))[:16],
        counts={key: figure(facts.get(key), ".0f") for key in ("pairs", "held_out")},
        versions=", ".join(f"{name} {text(version)}" for name, version in versions.items()),
        licences=licences,
        step=step,
        pictured=pictured,
        target=figure(answer_target(recipe.loss.name, recipe.loss.beta, recipe.loss.reduction), "+.2f"),
        benchmarks=[_row(event) for event in benchmarks(history, step)],
        loading=fenced(_loading(recipe.model.name, to, repository)),
        frozen=fenced(recipe.dump().rstrip("\n"), "toml"),
        local=", ".join(f"{section}.{key}" for section, key in _local(recipe)),
        **_held_out(history, step),
    )


def _held_out(history: History, step: int) -> dict[str, Any]:
    """The evaluations at the start, and the last one that the adapter of `step` had seen."""
    seen = [event for event in history.of("eval") if event["step"] <= step]
    first = next((event for event in seen if event["step"] == 0), {})
    last = seen[-1] if seen and seen[-1]["step"] else {}
    rows = [(words, figure(first.get(key), form), figure(last.get(key), form)) for key, words, form in FIGURES]
    return {"after": last.get("step", 0), "figures": rows if last else []}


def benchmarks(history: History, step: int) -> list[dict[str, Any]]:
    """What was measured of the adapter of `step`; of pairs only the run's held-out ones."""
    return [
        event for event in map(benchmark, history.benchmarks())
        if event["step"] == step and not (event["name"] in ("preference", "kl") and event["data"])
    ]


def _row(event: dict[str, Any]) -> list[str]:
    low, high, error = (number(event, key) for key in ("low", "high", "stderr"))
    sure = "" if error is None else f"± {figure(error, '.2g')}"
    if low is not None and high is not None:
        sure = f"{figure(low, '.4g')} to {figure(high, '.4g')}"
    name = f"{event['name']}, {event['data']}" if event["data"] else event["name"]
    return [name, event["metric"], event["of"], figure(event["value"], ".4g"), sure, figure(event["count"], ".0f")]


def public(recipe: Recipe) -> Recipe:
    """The recipe with local paths cut to their last part: where files lie on this machine is nobody's business."""
    for section, key in _local(recipe):
        settings = getattr(recipe, section)
        name = Path(getattr(settings, key)).name
        recipe = recipe.model_copy(update={section: settings.model_copy(update={key: name})})
    return recipe


def _local(recipe: Recipe) -> list[tuple[str, str]]:
    """The settings that name what lies on this machine."""
    values = ((section, key, getattr(getattr(recipe, section), key)) for section, key in PATHS)
    return [(section, key) for section, key, value in values if value not in NOWHERE and not on_hub(value)]


def _stage(recipe: Recipe, *, began: bool) -> str:
    """What was done to the model, in words."""
    loss = recipe.loss
    if loss.name == "sft":
        done = "fine-tuned on the chosen answers alone (supervised, the stage before preference tuning)"
    else:
        done = f"preference-tuned with {METHODS.get(loss.name, loss.name.upper())}"
    return done + (", going on from an adapter that was trained before" if began else "")


def _front(recipe: Recipe, licences: Licences, to: str) -> str:
    """The YAML that the hub reads."""
    import yaml

    model, data, loss = recipe.model.name, recipe.data.source, recipe.loss.name
    meta: dict[str, Any] = {"library_name": LIBRARY[to], "pipeline_tag": "text-generation"}
    if licences.base:
        meta["license"] = licences.base
    if on_hub(model):
        meta |= {"base_model": model, "base_model_relation": "adapter" if to in ("mlx", "peft") else "finetune"}
    if on_hub(data):
        meta["datasets"] = [data]
    tags = ["mio-local", *["preference"] * (loss != "sft"), loss]
    return yaml.safe_dump({**meta, "tags": tags}, sort_keys=False).strip()


def _loading(model: str, to: str, repository: str) -> str:
    if to == "mlx":
        return f'mlx_lm.generate --model {shlex.quote(model)} --adapter-path FOLDER --prompt "..."'
    library, name = ("peft", "AutoPeftModelForCausalLM") if to == "peft" else ("transformers", "AutoModelForCausalLM")
    return f"python -c \"from {library} import {name} as M; M.from_pretrained('{repository}')\""


def on_hub(name: str) -> bool:
    """Whether a name can be one of the hub's."""
    return name.count("/") == 1 and not name.startswith(("/", ".", "~"))
