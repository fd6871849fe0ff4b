"""A random Llama, small enough to be written for each session of tests."""

import json
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file
from tokenizers import Tokenizer, decoders
from tokenizers.models import BPE
from tokenizers.pre_tokenizers import ByteLevel

CHATML = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>\\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)


def write_tiny_model(folder: Path, width: int = 32, blocks: int = 2, seed: int = 0) -> Path:
    """Write config, weights and tokenizer of a random Llama; needs neither torch nor mlx."""
    folder.mkdir(parents=True, exist_ok=True)
    vocabulary = write_tokenizer(folder)
    config = {
        "architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": width, "head_dim": width // 4,
        "intermediate_size": 2 * width, "num_hidden_layers": blocks, "num_attention_heads": 4, "num_key_value_heads": 2,
        "vocab_size": vocabulary, "max_position_embeddings": 2048, "rms_norm_eps": 1e-5, "rope_theta": 10000.0,
        "tie_word_embeddings": False, "hidden_act": "silu", "attention_bias": False, "mlp_bias": False,
        "bos_token_id": None, "eos_token_id": vocabulary - 2, "pad_token_id": vocabulary - 1, "dtype": "float32",
    }  # fmt: skip
    (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
    shapes = {"model.embed_tokens": (vocabulary, width), "lm_head": (vocabulary, width), "model.norm": (width,)}
    for block in range(blocks):
        layer = f"model.layers.{block}"
        shapes |= {
            f"{layer}.input_layernorm": (width,), f"{layer}.post_attention_layernorm": (width,),
            f"{layer}.self_attn.q_proj": (width, width), f"{layer}.self_attn.o_proj": (width, width),
            f"{layer}.self_attn.k_proj": (width // 2, width), f"{layer}.self_attn.v_proj": (width // 2, width),
            f"{layer}.mlp.gate_proj": (2 * width, width), f"{layer}.mlp.up_proj": (2 * width, width),
            f"{layer}.mlp.down_proj": (width, 2 * width),
        }  # fmt: skip
    rng = np.random.default_rng(seed)
    tensors = {
        f"{name}.weight": (rng.normal(0, shape[-1] ** -0.5, shape) if len(shape) == 2 else np.ones(shape)).astype("f4")
        for name, shape in shapes.items()
    }
    save_file(tensors, str(folder / "model.safetensors"), metadata={"format": "pt"})
    return folder


def write_tokenizer(folder: Path) -> int:
    special = ["<|im_start|>", "<|im_end|>", "<|pad|>"]
    vocabulary = {symbol: number for number, symbol in enumerate(sorted(ByteLevel.alphabet()))}
    tokenizer = Tokenizer(BPE(vocabulary, []))
    tokenizer.pre_tokenizer = ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(special)
    tokenizer.save(str(folder / "tokenizer.json"))
    settings = {
        "tokenizer_class": "PreTrainedTokenizerFast", "eos_token": special[1], "pad_token": special[2],
        "bos_token": None, "model_max_length": 2048, "chat_template": CHATML, "clean_up_tokenization_spaces": False,
    }  # fmt: skip
    (folder / "tokenizer_config.json").write_text(json.dumps(settings, indent=2) + "\n", encoding="utf-8")
    return tokenizer.get_vocab_size()
