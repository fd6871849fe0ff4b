"""An adapter from one library's format to the other's, to the bit.

mlx-lm stores a layer's factors as lora_a (in, rank) and lora_b (rank, out) with `scale`; PEFT as lora_A (rank, in) and
lora_B (out, rank) with `lora_alpha`, scale = alpha / rank, or alpha / sqrt(rank) where it is rank-stabilised. What one
format cannot say is carried along in the file's metadata, so that the way back gives the settings too.
"""

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mio_local.adapters.adapter import FILES, MLX, ORIGIN, PEFT, SavedAdapter
from mio_local.adapters.claims import claimed
from mio_local.adapters.layer_names import mlx_config, peft_layers
from mio_local.adapters.terms import Terms, evened, in_one, rank_of, scale_of
from mio_local.errors import ModelError


def write_adapter(saved: SavedAdapter, kind: str, folder: Path, present: Sequence[str] = (), base: str = "") -> None:
    """Write `saved` into `folder` as mlx-lm (`mlx`) or PEFT (`peft`) reads it.

    `present`: names of the base's linear layers, for the short way of naming the adapted ones. `base`: what PEFT is
    told of the base model. Raises ModelError for stacked experts, which PEFT's files cannot hold.
    """
    from safetensors.numpy import save_file

    saved.check_whole()
    saved.check_claimed(present)
    tensors: dict[str, np.ndarray] = {}
    _, scale = evened(saved, saved.names)
    for name, value in (in_one(saved.weights, saved) if kind == "mlx" else saved.weights).items():
        # a B that has another scale worked in may need more digits than it had
        other = kind == "mlx" and name.endswith(".lora_B") and scale_of(saved, name.rpartition(".")[0]) != scale
        stored = value.dtype if other else saved.stored.get(name, value.dtype)
        tensors[_key(kind, name)] = np.ascontiguousarray(_turned(kind, value).astype(stored))
    if kind == saved.kind:
        config, origin = dict(saved.config), saved.origin
    elif saved.origin and (not present or claimed(kind, saved.origin, saved.names, present) == set(saved.names)):
        config, origin = dict(saved.origin), saved.config
    else:
        own = mlx_config(saved, saved.names, present) if kind == "mlx" else peft_config(saved, saved.names, present)
        config, origin = own, saved.config
    if kind == "peft" and base:
        config["base_model_name_or_path"] = base
    folder.mkdir(parents=True, exist_ok=True)
    metadata = {"format": {"mlx": "mlx", "peft": "pt"}[kind]} | ({ORIGIN: json.dumps(dict(origin))} if origin else {})
    save_file(tensors, folder / FILES[kind], metadata)
    (folder / "adapter_config.json").write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")


def peft_config(terms: Terms, names: Sequence[str], present: Sequence[str]) -> dict[str, Any]:
    """What `PeftModel.from_pretrained` needs to put an adapter of these settings on `names`."""
    alpha = round(terms.alpha) if terms.alpha == round(terms.alpha) else terms.alpha
    told = terms.rslora or terms.rank_pattern or terms.alpha_pattern  # else mlx-lm's scale tells it
    return {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "inference_mode": True,
        "r": terms.rank,
        "lora_alpha": alpha if told else exact_alpha(terms.alpha / terms.rank, terms.rank),
        "lora_dropout": terms.dropout,
        "use_dora": terms.dora,
        "use_rslora": terms.rslora,
        "rank_pattern": dict(terms.rank_pattern),
        "alpha_pattern": dict(terms.alpha_pattern),
        "bias": "none",
        "fan_in_fan_out": False,
        **peft_layers(names, present),
    }


def evening(saved: SavedAdapter) -> str:
    """What `write_adapter` does to layers of several ranks and scales for mlx-lm, in words; "" where they are alike."""
    ranks = sorted({rank_of(saved, name) for name in saved.names})
    done = [f"ranks below {ranks[-1]} are filled up with zeros"] if len(ranks) > 1 else []
    if len({scale_of(saved, name) for name in saved.names}) > 1:
        done.append("scales are worked into the weights")
    return f"mlx-lm has one rank and scale for all layers: {' and '.join(done)}; the effect is the same" if done else ""


def exact_alpha(scale: float, rank: int) -> float:
    """The alpha with alpha / rank == scale, whole where there is such a one."""
    near = scale * rank
    for alpha in (round(near), near, math.nextafter(near, 0), math.nextafter(near, math.inf)):
        if alpha / rank == scale:
            return alpha
    return near


def _key(kind: str, name: str) -> str:
    layer, _, leaf = name.rpartition(".")
    return f"{layer}.{MLX[leaf]}" if kind == "mlx" else f"base_model.model.{layer}.{PEFT[leaf]}"


def _turned(kind: str, value: np.ndarray) -> np.ndarray:
    if kind == "peft" and value.ndim > 2:
        raise ModelError("--to peft: this adapter is on stacked experts, which PEFT has no files for; use --to mlx")
    return value.T if kind == "mlx" and value.ndim == 2 else value
