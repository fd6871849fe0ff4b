"""An adapter's rank and scale, as a recipe or either library's settings say them.

    LoRA:    scale = alpha / rank               (Hu et al. 2021, arXiv 2106.09685, section 4.1)
    rsLoRA:  scale = alpha / sqrt(rank)         (Kalajdzievski 2023, arXiv 2312.03732, equation 6)

Single layers may have another rank and alpha, by a pattern for their names, as PEFT means it: the first one that
matches the name, or what follows a dot in it, to the end. mlx-lm's files have one rank and one scale; there a lower
rank is filled up with zeros, and another scale is worked into B.
"""

import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Protocol, TypeVar

import numpy as np

from mio_local.errors import RecipeError

V = TypeVar("V", int, float)


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
    @property
    def rank_pattern(self) -> Mapping[str, int]: ...
    @property
    def alpha_pattern(self) -> Mapping[str, float]: ...


KEPT = ("rank", "alpha", "dora", "rslora", "rank_pattern", "alpha_pattern")


def rank_of(terms: Terms, layer: str) -> int:
    """Rows of A, columns of B."""
    return _by_pattern(terms.rank_pattern, layer, terms.rank)


def scale_of(terms: Terms, layer: str) -> float:
    """What B A is multiplied by."""
    rank = rank_of(terms, layer)
    return _by_pattern(terms.alpha_pattern, layer, terms.alpha) / (math.sqrt(rank) if terms.rslora else rank)


def _by_pattern(patterns: Mapping[str, V], layer: str, otherwise: V) -> V:
    found = first_match(patterns, layer)
    return otherwise if found is None else patterns[found]


def first_match(patterns: Mapping[str, Any], layer: str) -> str | None:
    """The pattern that a layer goes by (`peft.utils.other.get_pattern_key`)."""
    return next((pattern for pattern in patterns if re.match(rf"(.*\.)?({pattern})$", layer)), None)


def check_patterns(terms: Terms, names: Sequence[str]) -> None:
    """Raise RecipeError for a pattern that none of the adapted layers `names` goes by."""
    for key in ("rank_pattern", "alpha_pattern"):
        patterns: Mapping[str, float] = getattr(terms, key)
        used = {first_match(patterns, name) for name in names}
        for pattern in patterns:
            if pattern in used:
                continue
            if taken := next((name for name in names if first_match({pattern: 0}, name)), ""):
                raise RecipeError(f"lora.{key}: {pattern}: all it matches, as {taken}, goes by a pattern before it, "
                                  f"{first_match(patterns, taken)}; put it first")  # fmt: skip
            kinds = sorted({name.rpartition(".")[2] for name in names})
            raise RecipeError(f"lora.{key}: {pattern}: matches no adapted layer; there are {', '.join(kinds)}, "
                              f"as {names[0]}")  # fmt: skip


def patterns_for(terms: Terms, names: Mapping[str, str]) -> dict[str, dict[str, Any]]:
    """The patterns of `terms` for the adapted layers under new names, by the old: the same, or where those are not
    found by them, of each layer by itself."""
    same = all(first_match(patterns, old) == first_match(patterns, new)
               for patterns in (terms.rank_pattern, terms.alpha_pattern) for old, new in names.items())  # fmt: skip
    if same:
        return {"rank_pattern": dict(terms.rank_pattern), "alpha_pattern": dict(terms.alpha_pattern)}
    ranks = {re.escape(new): rank_of(terms, old) for old, new in names.items()}
    alphas = {re.escape(new): _by_pattern(terms.alpha_pattern, old, terms.alpha) for old, new in names.items()}
    return {"rank_pattern": {name: rank for name, rank in ranks.items() if rank != terms.rank},
            "alpha_pattern": {name: alpha for name, alpha in alphas.items() if alpha != terms.alpha}}  # fmt: skip


def evened(terms: Terms, names: Sequence[str]) -> tuple[int, float]:
    """The one rank and scale of an adapter on `names` in mlx-lm's files: the largest rank, the commonest scale."""
    scales = Counter(scale_of(terms, name) for name in names)
    common = max(scales, key=lambda scale: (scales[scale], scale), default=terms.alpha / terms.rank)
    return max((rank_of(terms, name) for name in names), default=terms.rank), common


def grown(key: str, value: np.ndarray, rank: int, by: float) -> np.ndarray:
    """The tensor called `key` filled up with zeros to that rank, B `by` times as large: so is the effect."""
    if key.endswith(".lora_A"):
        return np.pad(value, [(0, 0)] * (value.ndim - 2) + [(0, max(0, rank - value.shape[-2])), (0, 0)])
    if key.endswith(".lora_B"):
        scaled = value if by == 1 else value * np.float32(by)
        return np.pad(scaled, [(0, 0)] * (value.ndim - 1) + [(0, max(0, rank - value.shape[-1]))])
    return value


def in_one(weights: Mapping[str, np.ndarray], terms: Terms) -> dict[str, np.ndarray]:
    """The weights by `evened`: of the same effect at one rank and one scale."""
    rank, scale = evened(terms, list(dict.fromkeys(key.rpartition(".")[0] for key in weights)))
    by = {key: scale_of(terms, key.rpartition(".")[0]) / scale for key in weights}
    return {key: grown(key, value, rank, by[key]) for key, value in weights.items()}


def apart(weights: Mapping[str, np.ndarray], terms: Terms) -> dict[str, np.ndarray]:
    """What `in_one` had been given, but for the rounding of a scale. Raises ValueError where what was filled up holds
    something else than zeros."""
    names = list(dict.fromkeys(key.rpartition(".")[0] for key in weights))
    _, scale = evened(terms, names)
    found: dict[str, np.ndarray] = {}
    for key, value in weights.items():
        layer, _, leaf = key.rpartition(".")
        rank, by = rank_of(terms, layer), scale_of(terms, layer) / scale
        axis = {"lora_A": -2, "lora_B": -1}.get(leaf)
        kept, rest = (value, np.empty(0)) if axis is None else np.split(value, [rank], axis)
        if rest.any():
            raise ValueError(f"{key} has more than rank {rank}")
        found[key] = kept / np.float32(by) if leaf == "lora_B" and by != 1 else np.ascontiguousarray(kept)
    return found


def kept(terms: Terms) -> dict[str, Any]:
    """The keys of [lora] that an adapter brings along."""
    return {key: getattr(terms, key) for key in KEPT}


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
    return {
        "rank": rank, "alpha": alpha, "dora": dora, "dropout": dropout, "rslora": bool(config.get("use_rslora")),
        "rank_pattern": {_pattern(key): _rank(value) for key, value in (config.get("rank_pattern") or {}).items()},
        "alpha_pattern": {_pattern(key): float(value) for key, value in (config.get("alpha_pattern") or {}).items()},
    }  # fmt: skip


def _pattern(value: Any) -> str:
    re.compile(value)
    return str(value)


def _rank(value: Any) -> int:
    if (rank := int(value)) < 1:
        raise ValueError(f"rank {value}")
    return rank
