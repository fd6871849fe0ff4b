"""An adapter's rank and scale, as a recipe or either library's settings say them.

    LoRA:    scale = alpha / rank               (Hu et al. 2021, arXiv 2106.09685, section 4.1)
    rsLoRA:  scale = alpha / sqrt(rank)         (Kalajdzievski 2023, arXiv 2312.03732, equation 6)
"""

import math
from collections.abc import Mapping
from typing import Any, Protocol


class Terms(Protocol):
    """What a recipe's [lora] and a saved adapter both have."""

    @property
    def rank(self) -> int: ...
    @property
    def alpha(self) -> float: ...
    @property
    def dora(self) -> bool: ...
    @property
    def dropout(self) -> float: ...
    @property
    def rslora(self) -> bool: ...


def scale_of(terms: Terms) -> float:
    """What B A is multiplied by."""
    return terms.alpha / (math.sqrt(terms.rank) if terms.rslora else terms.rank)


def kept(terms: Terms) -> dict[str, Any]:
    """The keys of [lora] that an adapter brings along."""
    return {key: getattr(terms, key) for key in ("rank", "alpha", "dora", "rslora")}


def mlx_terms(config: Mapping[str, Any]) -> dict[str, Any]:
    """Those in mlx-lm's adapter_config.json. Raises KeyError, TypeError or ValueError for what is none."""
    parameters = config["lora_parameters"]
    rank = _rank(parameters["rank"])
    dora, dropout = config.get("fine_tune_type") == "dora", float(parameters.get("dropout") or 0)
    return {"rank": rank, "alpha": float(parameters["scale"]) * rank, "dora": dora, "dropout": dropout}


def peft_terms(config: Mapping[str, Any]) -> dict[str, Any]:
    """Those in PEFT's. Raises likewise."""
    dora, dropout = bool(config.get("use_dora")), float(config.get("lora_dropout") or 0)
    rank, alpha = _rank(config["r"]), float(config["lora_alpha"])
    return {"rank": rank, "alpha": alpha, "dora": dora, "dropout": dropout, "rslora": bool(config.get("use_rslora"))}


def _rank(value: Any) -> int:
    if (rank := int(value)) < 1:
        raise ValueError(f"rank {value}")
    return rank
