"""The recipe of a new run that begins with another one's: with another objective, or on the pairs of its chats."""

from collections.abc import Mapping
from copy import deepcopy
from pathlib import Path
from typing import Any

from mio_local.runs.directory import Run

# of [data], what says how any pairs are read; the rest is about those that the other run had
KEPT = ("template", "template_args", "system", "thoughts", "score", "max_tokens", "long_prompt", "bad_rows")


def with_objective(tables: Mapping[str, Any], name: str) -> dict[str, Any]:
    """The tables of a recipe with another objective: between MIO and DPO with the beta that begins with the same
    gradient, else with the default."""
    from mio_local.objectives.losses import LOSSES, dpo_beta  # with numpy: not before the first screen

    made = deepcopy(dict(tables))
    loss = dict(made.get("loss") or {})
    before, beta = loss.get("name", "mio"), loss.pop("beta", None)
    loss.pop("reduction", None)
    factor = {("mio", "dpo"): dpo_beta(1.0), ("dpo", "mio"): 1 / dpo_beta(1.0)}.get((before, name))
    if factor and isinstance(beta, int | float):
        loss["beta"] = beta * factor
    if not LOSSES[name].smoothed:
        loss.pop("label_smoothing", None)
    made["loss"] = loss | {"name": name}
    return made


def on_pairs(tables: Mapping[str, Any], run: Run, pairs: Path) -> dict[str, Any]:
    """The tables of a recipe that trains on other pairs, from where the run's adapter is, where it has one."""
    made = with_pairs(tables, pairs)
    if run.adapter.exists():
        made["lora"] = dict(made.get("lora") or {}) | {"init_adapter": str(run.adapter)}
    return made


def with_pairs(tables: Mapping[str, Any], pairs: Path) -> dict[str, Any]:
    """The tables of a recipe that trains on other pairs."""
    made = deepcopy(dict(tables))
    data = {key: value for key, value in dict(made.get("data") or {}).items() if key in KEPT}
    made["data"] = data | {"source": str(pairs)}
    return made
