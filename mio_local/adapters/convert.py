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
from mio_local.adapters.terms import Terms, scale_of
from mio_local.errors import ModelError


def write_adapter(saved: SavedAdapter, kind: str, folder: Path, present: Sequence[str] = (), base: str = "") -> None:
    """Write `saved` into `folder` as mlx-lm (`mlx`) or PEFT (`peft`) reads it.

    `present`: names of the base's linear layers, for the short way of naming the adapted ones. `base`: what PEFT is
    told of the base model. Raises ModelError for stacked experts, which PEFT's files cannot hold.
    """
    from safetensors.numpy import save_file

    saved.check_whole()
    saved.check_claimed(present)
    tensors = {
        _key(kind, name): np.ascontiguousarray(_turned(kind, value).astype(saved.stored.get(name, value.dtype)))
        for name, value in saved.weights.items()
    }
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
    return {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "inference_mode": True,
        "r": terms.rank,
        "lora_alpha": alpha if terms.rslora else exact_alpha(scale_of(terms), terms.rank),
        "lora_dropout": terms.dropout,
        "use_dora": terms.dora,
        "use_rslora": terms.rslora,
        "bias": "none",
        "fan_in_fan_out": False,
        **peft_layers(names, present),
    }


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
