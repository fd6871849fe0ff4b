"""What a model's files say of its size: config.json and the headers of its safetensors, never a weight."""

import json
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from mio_local.errors import MioError, ModelError, one_line
from mio_local.models.locate import read_config

BYTES = {"float32": 4, "bfloat16": 2, "float16": 2}
HEADER_NAMES = {"F32": "float32", "BF16": "bfloat16", "F16": "float16"}
# The first spelling that a config has is taken; those behind it are GPT-2's and OPT's.
REQUIRED = (
    ("vocab_size",),
    ("hidden_size", "n_embd", "d_model"),
    ("num_hidden_layers", "n_layer", "num_layers"),
    ("num_attention_heads", "n_head"),
)
# What published configs of a kind leave out, as transformers and mlx-lm fill it in
LEFT_OUT = {
    "gemma3_text": {"vocab_size": 262208, "num_attention_heads": 8, "num_key_value_heads": 4, "head_dim": 256},
}
GATE = re.compile(r"gate|\.w3\.|\.v1\.|input_linear|ff_proj")  # in the names of weights that hold an MLP's gate
DELTA = ("linear_num_value_heads", "linear_key_head_dim", "linear_value_head_dim")
HEADER_LIMIT = 100_000_000  # bytes; the format's own limit


@dataclass(frozen=True)
class Shape:
    """A decoder's sizes. `mlp` is the inner width of one expert; a dense model has one expert, and one is active.

    `parameters`: weights, quantised ones counted one by one. `stored_bytes`: bytes of the weight files. `stored_dtype`:
    type of the weights that are no integers. `bits`: 0, or those of weights that are quantised in the files. `gated`:
    whether the MLP has a gate beside its way up, as Llama's has and GPT-2's has not. `light`: blocks with a short
    convolution or a gated delta rule in attention's place. `delta`: heads, widths of keys and of values of that rule.
    """

    vocabulary: int
    width: int
    blocks: int
    heads: int
    kv_heads: int
    head_dim: int
    mlp: int
    experts: int
    active: int
    tied: bool
    parameters: int
    stored_bytes: int
    stored_dtype: str
    bits: int
    gated: bool = True
    light: int = 0
    delta: tuple[int, int, int] = (0, 0, 0)

    def dtype(self, wanted: str, kind: str) -> str:
        """Type of the weights that are not quantised, of which `wanted` may be auto, on a device of `kind`."""
        if wanted != "auto":
            return wanted
        return "float32" if kind == "cpu" else "bfloat16"

    @property
    def queries(self) -> int:
        """Width of the queries, and of what attention gives."""
        return self.heads * self.head_dim

    @property
    def keys(self) -> int:
        """Width of the keys, and of the values."""
        return self.kv_heads * self.head_dim

    @property
    def embedding(self) -> int:
        """Weights of the embedding, and of the output head where it has its own."""
        return self.vocabulary * self.width * (1 if self.tied else 2)

    @property
    def linears(self) -> dict[str, tuple[int, int]]:
        """Width in and width out of the linear layers of one block, or of one of its experts, by Llama's names."""
        h, m = self.width, self.mlp
        return {
            "self_attn.q_proj": (h, self.queries),
            "self_attn.k_proj": (h, self.keys),
            "self_attn.v_proj": (h, self.keys),
            "self_attn.o_proj": (self.queries, h),
            **({"mlp.gate_proj": (h, m)} if self.gated else {}),
            "mlp.up_proj": (h, m),
            "mlp.down_proj": (m, h),
        }


def read_shape(folder: Path) -> Shape:
    """The shape of the model in `folder`. Raises ModelError where its config lacks a size, or its weights a header."""
    headers = [_header(file) for file in sorted(folder.glob("*.safetensors"))]
    dtype, stored = _stored(folder, headers)
    gated = any(GATE.search(name) for header in headers for name in header)
    return replace(shape_from_config(read_config(folder), stored, dtype, str(folder / "config.json")), gated=gated)


def stored_dtype(folder: Path) -> str:
    """The type of most of the weights in `folder` that are no integers, "" where there is none. Raises ModelError."""
    return _stored(folder, [_header(file) for file in sorted(folder.glob("*.safetensors"))])[0]


def _stored(folder: Path, headers: Iterable[Mapping[str, Any]]) -> tuple[str, int]:
    """Type of most weights, and the bytes of all."""
    counts: dict[str, int] = {}
    stored = 0
    try:
        for entry in (entry for header in headers for name, entry in header.items() if name != "__metadata__"):
            counts[entry["dtype"]] = counts.get(entry["dtype"], 0) + math.prod(entry["shape"])
            stored += entry["data_offsets"][1] - entry["data_offsets"][0]
    except (KeyError, TypeError, IndexError):
        raise ModelError(f"{folder}: the header of its weights is damaged; download the model again") from None
    floats = {HEADER_NAMES[name]: count for name, count in counts.items() if name in HEADER_NAMES}
    return (max(floats, key=lambda name: floats[name]) if floats else ""), stored


def known_shape(folder: Path) -> Shape | None:
    """The shape of the model in `folder`; None where its files do not tell."""
    try:
        return read_shape(folder)
    except (MioError, OSError):
        return None


def shape_from_config(config: Mapping[str, Any], weight_bytes: int, dtype: str = "", source: str = "config") -> Shape:
    """The shape that `config` describes, its weight files being `weight_bytes` long: for a model that is not here yet.

    `dtype` is the config's own where it is not given. Raises ModelError naming `source` and what it lacks.
    """
    text = config.get("text_config")
    text = text if isinstance(text, dict) else config
    text = LEFT_OUT.get(str(text.get("model_type")), {}) | dict(text)
    vocabulary, width, blocks, heads = (_number(text, names, source) for names in REQUIRED)
    experts = _optional(text, ("num_experts", "num_local_experts", "n_routed_experts"), 1, source)
    widths = ("intermediate_size", "n_inner", "ffn_dim")
    inner = _optional(text, ("moe_intermediate_size", *widths) if experts > 1 else widths, 4 * width, source)
    dtype = dtype or str(text.get("dtype") or text.get("torch_dtype") or config.get("torch_dtype") or "bfloat16")
    quantised = config.get("quantization") or config.get("quantization_config") or {}
    shape = Shape(
        vocabulary=vocabulary,
        width=width,
        blocks=blocks,
        heads=heads,
        kv_heads=_optional(text, ("num_key_value_heads",), heads, source),
        head_dim=_optional(text, ("head_dim",), width // heads, source),
        mlp=_adjusted(text, inner, source),
        experts=experts,
        active=_optional(text, ("num_experts_per_tok", "top_k_experts"), 1, source) if experts > 1 else 1,
        tied=bool(text.get("tie_word_embeddings", config.get("tie_word_embeddings", True))),
        parameters=0,
        stored_bytes=weight_bytes,
        stored_dtype=dtype if dtype in BYTES else "bfloat16",
        bits=_bits(quantised) if isinstance(quantised, dict) else 0,
        light=_light(text, blocks),
        delta=tuple(_optional(text, (name,), 0, source) for name in DELTA),  # pyright: ignore[reportArgumentType]
    )
    if shape.bits:
        return replace(shape, parameters=_counted(shape))
    parameters, bare = weight_bytes // BYTES[shape.stored_dtype], _counted(replace(shape, gated=False))
    gates = shape.blocks * shape.width * shape.mlp
    # no config says it: the files have no room for gates, though for all the rest
    bare_mlp = experts == 1 and 0.8 * bare < parameters < bare + 0.5 * gates
    return replace(shape, parameters=parameters, gated=not bare_mlp)


def _adjusted(text: Mapping[str, Any], inner: int, source: str) -> int:
    """The inner width that LFM2 makes of the one in its config: two thirds of it, in whole steps."""
    if not text.get("block_auto_adjust_ff_dim"):
        return inner
    step = _optional(text, ("block_multiple_of",), 1, source)
    return -(-(2 * inner // 3) // step) * step


def _light(text: Mapping[str, Any], blocks: int) -> int:
    """`Shape.light`. State spaces are none of them: what they keep is as large as attention's scores."""
    delta, kinds, every = DELTA[0] in text, text.get("layer_types"), text.get("full_attention_interval")
    if isinstance(kinds, list):
        return sum(kind == "conv" or (delta and kind == "linear_attention") for kind in kinds[:blocks])
    return blocks - blocks // every if delta and type(every) is int and every > 0 else 0


def _bits(quantised: Mapping[str, Any]) -> int:
    """Bits by what mlx-lm, GPTQ and AWQ, and bitsandbytes write; 8 for a format that says none."""
    if not quantised:
        return 0
    bits = quantised.get("bits")
    return bits if isinstance(bits, int) else 4 if quantised.get("load_in_4bit") else 8


def _counted(shape: Shape) -> int:
    sizes = {name: wide * high for name, (wide, high) in shape.linears.items()}
    block = sum(size * (shape.experts if name.startswith("mlp") else 1) for name, size in sizes.items())
    return shape.blocks * block + shape.embedding


def _number(config: Mapping[str, Any], names: tuple[str, ...], source: str) -> int:
    if not (value := _optional(config, names, 0, source)):
        raise ModelError(f"{source}: no {names[0]}, so the memory that the model takes is not known")
    return value


def _optional(config: Mapping[str, Any], names: tuple[str, ...], default: int, source: str) -> int:
    for name in names:
        if (value := config.get(name)) is not None:
            if type(value) is not int or value < 1:
                raise ModelError(f"{source}: {name} must be a whole number above 0, not {str(value)[:40]!r}")
            return value
    return default


def _header(file: Path) -> dict[str, Any]:
    """The JSON at the head of a safetensors file: 8 bytes of length, little-endian, then that many of text."""
    try:
        with file.open("rb") as handle:
            length = int.from_bytes(handle.read(8), "little")
            if length > HEADER_LIMIT:
                raise ValueError("no safetensors header")
            header = json.loads(handle.read(length))
        if not isinstance(header, dict):
            raise ValueError("no safetensors header")
        return header
    except (OSError, ValueError) as error:
        raise ModelError(f"{file}: cut or damaged ({one_line(error, 80)}); download the model again") from None
