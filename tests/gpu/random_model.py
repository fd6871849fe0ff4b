"""Llamas of real shape with random weights, which need nothing but numpy and a disk: for speed and memory."""

import json
from collections.abc import Iterator
from pathlib import Path

import ml_dtypes
import numpy as np

from mio_local.models.weights import write_weights
from tests.helpers.tiny_model import write_tokenizer

# width, inner width, blocks, heads, key heads, width of a head, vocabulary
SHAPES = {
    "tiny": (64, 128, 2, 4, 2, 16, 512), "27m": (384, 1024, 8, 6, 2, 64, 32000),
    "1B": (2048, 8192, 16, 32, 8, 64, 128256), "4B": (2560, 9728, 36, 32, 8, 128, 151936),
    "8B": (4096, 14336, 32, 32, 8, 128, 128256),
}  # fmt: skip
SPREAD = 0.02  # standard deviation of a weight, as Llama's begin
DRAWN = 1 << 22  # numbers that are drawn, and repeated: drawing eight billion takes longer than all that is measured


def write(size: str, folder: Path) -> Path:
    """The model of that size in a folder of its own inside `folder`, in bfloat16; one that is there is kept."""
    place = folder / size
    if (place / "config.json").exists():
        return place
    place.mkdir(parents=True)
    width, inner, blocks, heads, keys, head, vocabulary = SHAPES[size]
    write_tokenizer(place)
    shapes = {"model.embed_tokens": (vocabulary, width), "lm_head": (vocabulary, width), "model.norm": (width,)}
    for block in range(blocks):
        layer = f"model.layers.{block}"
        shapes |= {
            f"{layer}.input_layernorm": (width,), f"{layer}.post_attention_layernorm": (width,),
            f"{layer}.self_attn.q_proj": (heads * head, width), f"{layer}.self_attn.o_proj": (width, heads * head),
            f"{layer}.self_attn.k_proj": (keys * head, width), f"{layer}.self_attn.v_proj": (keys * head, width),
            f"{layer}.mlp.gate_proj": (inner, width), f"{layer}.mlp.up_proj": (inner, width),
            f"{layer}.mlp.down_proj": (width, inner),
        }  # fmt: skip
    drawn = np.random.default_rng(0).standard_normal(DRAWN, np.float32)

    def weights() -> Iterator[tuple[str, np.ndarray]]:
        for name, shape in shapes.items():
            values = np.resize(drawn, shape) * SPREAD if len(shape) == 2 else np.ones(shape)
            yield f"{name}.weight", values.astype(ml_dtypes.bfloat16)

    write_weights(weights(), place, len(shapes))
    config = {
        "architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": width, "head_dim": head,
        "intermediate_size": inner, "num_hidden_layers": blocks, "num_attention_heads": heads,
        "num_key_value_heads": keys, "vocab_size": vocabulary, "max_position_embeddings": 4096, "rms_norm_eps": 1e-5,
        "rope_theta": 500000.0, "tie_word_embeddings": False, "hidden_act": "silu", "attention_bias": False,
        "mlp_bias": False, "bos_token_id": None, "eos_token_id": 257, "pad_token_id": 258, "dtype": "bfloat16",
    }  # fmt: skip
    (place / "config.json").write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
    return place
