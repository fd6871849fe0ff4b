"""A model's sizes as llama.cpp has them, and the tensors that it wants beside the weights.

llama.cpp computes each architecture in one way, which its files cannot change in every respect: what a config asks for
beyond that is refused, or told as a note where it only matters for long texts. Sources: src/models/*.cpp and
conversion/*.py of llama.cpp, docs/gguf.md of ggml.
"""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mio_local.errors import ModelError, one_line
from mio_local.gguf_files.gguf_types import is_norm
from mio_local.models.locate import read_config

SLIDING, FULL = "sliding_attention", "full_attention"
QKV = ("attn_q", "attn_k", "attn_v")


class NotHere(ModelError):
    """A model that llama.cpp's own converter may take, and this one does not."""


@dataclass(frozen=True)
class Family:
    """How llama.cpp has a model type. `permuted`: queries and keys are turned in pairs of neighbours rather than of
    halves. `shifted`: norms are stored with the one that the model adds. `biases`: tensors that may have one. `square`:
    the heads together are as wide as the model. `period`: every how many blocks one has no sliding window. `large`: as
    many blocks has the size whose attention is scaled by the width of the model, not of a head."""

    name: str
    permuted: bool = False
    shifted: bool = False
    biases: tuple[str, ...] = ()
    square: bool = False
    period: int = 0
    large: int = 0


LLAMA = Family("llama", permuted=True, biases=(*QKV, "attn_output", "ffn_gate", "ffn_up", "ffn_down"))
FAMILIES = {
    "llama": LLAMA,
    "mistral": LLAMA,
    "qwen2": Family("qwen2", biases=QKV, square=True),
    "qwen3": Family("qwen3"),
    "gemma": Family("gemma", shifted=True),
    "gemma2": Family("gemma2", shifted=True, period=2, large=46),
    "gemma3_text": Family("gemma3", shifted=True, period=6, large=62),
    "phi3": Family("phi3", square=True),
}


@dataclass(frozen=True)
class Plan:
    """What a GGUF file says of a model: `values` below its architecture's name, `tensors` beside the weights, whether
    the output is the embedding, and `notes`, a line each, on what llama.cpp does otherwise."""

    family: Family
    values: dict[str, Any]
    tensors: dict[str, np.ndarray]
    tied: bool
    notes: tuple[str, ...]

    @property
    def blocks(self) -> int:
        """Number of blocks."""
        return self.values["block_count"]

    def shift(self, tensor: str) -> float:
        """What the file's values of this tensor have on top of the model's: Gemma's norms their one."""
        return 1.0 if self.family.shifted and is_norm(tensor) else 0.0

    def heads(self, tensor: str) -> int:
        """Number of heads of the queries' or the keys' tensor; 0 for one that keeps its order."""
        if not self.family.permuted:
            return 0
        last = tensor.rsplit(".", 2)[-2]
        return {"attn_q": self.values["attention.head_count"], "attn_k": self.values["attention.head_count_kv"]}.get(
            last, 0
        )


def read_plan(folder: Path) -> Plan:
    """The plan for the model in `folder`. Raises ModelError for one that llama.cpp computes otherwise."""
    kind = read_config(folder)["model_type"]
    if kind not in FAMILIES:
        raise NotHere(
            f"{folder}: a {kind} model cannot be written as GGUF here, only {', '.join(FAMILIES)}; "
            "give --llama-cpp DIR, a checkout of llama.cpp, to use its own converter"
        )
    from transformers import AutoConfig

    try:
        config = AutoConfig.from_pretrained(str(folder)).to_dict()
    except Exception as error:  # whatever a config's own checks raise
        raise ModelError(f"{folder / 'config.json'}: {one_line(error)}") from None
    family, notes, file = FAMILIES[kind], list[str](), folder / "config.json"
    values = _sizes(config)
    _check(config, family, values, file)
    values |= _windows(config, family, values, notes, file)
    scaling, tensors = _rope(config, family, values, file)
    if "rope_factors_long.weight" in tensors:
        until = scaling["rope.scaling.original_context_length"]
        notes.append(f"llama.cpp takes the factors for long texts wherever its context (-c) is beyond {until} tokens")
    tied = bool(config.get("tie_word_embeddings"))
    return Plan(family, {**values, **scaling}, tensors, tied, tuple(notes))


def _sizes(config: dict[str, Any]) -> dict[str, Any]:
    heads = config["num_attention_heads"]
    head_dim = config.get("head_dim") or config["hidden_size"] // heads
    return {
        "vocab_size": config["vocab_size"],
        "context_length": config["max_position_embeddings"],
        "embedding_length": config["hidden_size"],
        "block_count": config["num_hidden_layers"],
        "feed_forward_length": config["intermediate_size"],
        "attention.head_count": heads,
        "attention.head_count_kv": config.get("num_key_value_heads") or heads,
        "attention.key_length": head_dim,
        "attention.value_length": head_dim,
        "attention.layer_norm_rms_epsilon": float(config["rms_norm_eps"]),
    }


def _check(config: dict[str, Any], family: Family, values: dict[str, Any], file: Path) -> None:
    """Raise ModelError where llama.cpp has one way and the config another."""
    gemma = family.shifted
    acts = ("gelu_pytorch_tanh", "gelu") if gemma else ("silu", "swish")
    act = config.get("hidden_activation") or config.get("hidden_act") or acts[0]
    if act not in acts:
        raise ModelError(f"{file}: hidden_act is {act}; llama.cpp has {acts[0]} for {family.name}")
    heads, head_dim = values["attention.head_count"], values["attention.key_length"]
    if family.square and heads * head_dim != values["embedding_length"]:
        raise ModelError(f"{file}: head_dim is {head_dim}; llama.cpp has hidden_size / heads for {family.name}")
    if (scalar := config.get("query_pre_attn_scalar")) is not None:
        large = values["block_count"] == family.large
        usual = values["embedding_length"] // heads if large else head_dim
        if scalar != usual:
            raise ModelError(f"{file}: query_pre_attn_scalar is {scalar}; llama.cpp has {usual} for {family.name}")
    if config.get("use_bidirectional_attention"):
        raise ModelError(f"{file}: use_bidirectional_attention is on; llama.cpp has {family.name} look back only")


def _windows(
    config: dict[str, Any], family: Family, values: dict[str, Any], notes: list[str], file: Path
) -> dict[str, Any]:
    """Sliding windows and caps of logits."""
    types = config.get("layer_types") or []
    window = config.get("sliding_window")
    if family.name == "llama" or not family.period:
        used = window if not types or SLIDING in types else None
        if used and used < values["context_length"]:
            notes.append(f"llama.cpp has no sliding window for {family.name}: beyond {used} tokens it sees all of them")
        return {"attention.sliding_window": window or 0} if family.name == "phi3" else {}
    found: dict[str, Any] = {}
    if SLIDING in types and window:
        found["attention.sliding_window"] = window
        if types != [FULL if (block + 1) % family.period == 0 else SLIDING for block in range(len(types))]:
            found["attention.sliding_window_pattern"] = [kind == SLIDING for kind in types]
    elif family.name == "gemma2":  # has a window in llama.cpp whatever the file says
        found["attention.sliding_window"] = values["context_length"]
    caps = {key: config.get(key) for key in ("attn_logit_softcapping", "final_logit_softcapping")}
    if bool(caps["attn_logit_softcapping"]) != (family.name == "gemma2"):
        raise ModelError(f"{file}: attn_logit_softcapping is {caps['attn_logit_softcapping']}; "
                         f"llama.cpp has {'one' if family.name == 'gemma2' else 'none'} for {family.name}")  # fmt: skip
    return found | {key: float(cap) for key, cap in caps.items() if cap}


def _rope(
    config: dict[str, Any], family: Family, values: dict[str, Any], file: Path
) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """The angles of the positions: base, scaling, and factors for single channels."""
    rope = config["rope_parameters"]
    local, rope = rope.get(SLIDING) or {}, rope.get(FULL) or rope
    turned = int(values["attention.key_length"] * float(rope.get("partial_rotary_factor") or 1.0))
    found: dict[str, Any] = {"rope.dimension_count": turned, "rope.freq_base": float(rope["rope_theta"])}
    tensors: dict[str, np.ndarray] = {}
    kind = rope.get("rope_type") or "default"
    if local:
        found["rope.freq_base_swa"] = float(local["rope_theta"])
        kind = kind if local.get("rope_type", "default") == "default" else f"{local['rope_type']} for sliding windows"
    original = rope.get("original_max_position_embeddings")
    factor = rope.get("factor") or (values["context_length"] / original if original else 0.0)
    odd = {key: rope.get(key) for key in ("attention_factor", "mscale", "mscale_all_dim") if rope.get(key) is not None}
    if kind == "llama3" and family.name == "llama":
        tensors["rope_freqs.weight"] = _llama3(rope, turned)
    elif kind == "linear" and rope.get("factor"):
        found |= {"rope.scaling.type": "linear", "rope.scaling.factor": float(factor)}
    elif kind == "yarn" and factor and original and rope.get("truncate", True) and not odd:
        found |= {"rope.scaling.type": "yarn", "rope.scaling.factor": float(factor),
                  "rope.scaling.original_context_length": original,
                  "rope.scaling.yarn_beta_fast": float(rope.get("beta_fast") or 32),
                  "rope.scaling.yarn_beta_slow": float(rope.get("beta_slow") or 1)}  # fmt: skip
    elif kind == "longrope" and family.name == "phi3" and original and not odd:
        longer = max(float(factor), 1.0)
        found |= {"rope.scaling.type": "longrope", "rope.scaling.original_context_length": original,
                  "rope.scaling.attn_factor": math.sqrt(1 + math.log(longer) / math.log(original))}  # fmt: skip
        for name in ("long", "short"):
            tensors[f"rope_factors_{name}.weight"] = np.array(rope[f"{name}_factor"], np.float32)
    elif kind != "default":
        raise NotHere(f"{file}: rope_type is {kind}, in a way that llama.cpp has not for {family.name}; "
                         "try llama.cpp's own converter: --llama-cpp DIR")  # fmt: skip
    return found, tensors


def _llama3(rope: dict[str, Any], width: int) -> np.ndarray:
    """By how much each channel's angle is divided (width / 2,): 1 where it turns `high_freq_factor` times or more
    within the original context, `factor` where `low_freq_factor` times or less, and between the two in between
    (transformers' modeling_rope_utils)."""
    length = 2 * np.pi * float(rope["rope_theta"]) ** (np.arange(0, width, 2) / width)
    low, high = float(rope["low_freq_factor"]), float(rope["high_freq_factor"])
    share = np.clip((rope["original_max_position_embeddings"] / length - low) / (high - low), 0, 1)
    return (1 / ((1 - share) / float(rope["factor"]) + share)).astype(np.float32)
