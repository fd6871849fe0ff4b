"""The models of the shipped recipes, as their published config.json describes them, and the bytes of their weights.

Written down from transformers' defaults and the models' pages, as nothing is downloaded in tests. Bytes are parameters
times their width.
"""

QWEN = {"vocab_size": 248320, "num_hidden_layers": 32, "num_attention_heads": 16, "num_key_value_heads": 4,
        "head_dim": 256, "dtype": "bfloat16"}  # fmt: skip
PUBLISHED = {
    "mac-16gb": ({
        "vocab_size": 65536, "hidden_size": 2048, "intermediate_size": 8192, "num_hidden_layers": 16,
        "num_attention_heads": 32, "num_key_value_heads": 8, "tie_word_embeddings": True, "dtype": "bfloat16",
    }, 2_340_000_000),
    "mac-32gb": ({
        "vocab_size": 262208, "hidden_size": 2560, "intermediate_size": 10240, "num_hidden_layers": 34,
        "num_attention_heads": 8, "num_key_value_heads": 4, "head_dim": 256, "tie_word_embeddings": True,
        "dtype": "bfloat16", "quantization": {"bits": 4, "group_size": 64},
    }, 2_600_000_000),
    "mac-64gb": ({
        "vocab_size": 201088, "hidden_size": 2880, "intermediate_size": 2880, "num_hidden_layers": 24,
        "num_attention_heads": 64, "num_key_value_heads": 8, "head_dim": 64, "num_local_experts": 32,
        "num_experts_per_tok": 4, "tie_word_embeddings": False, "dtype": "bfloat16",
        "quantization_config": {"quant_method": "mxfp4", "bits": 4},
    }, 13_800_000_000),
    "gpu-12gb": ({**QWEN, "hidden_size": 2560, "intermediate_size": 9216, "tie_word_embeddings": True},
                 2 * 4_200_000_000),
    "gpu-24gb": ({
        "vocab_size": 131072, "hidden_size": 4096, "intermediate_size": 14336, "num_hidden_layers": 34,
        "num_attention_heads": 32, "num_key_value_heads": 8, "head_dim": 128, "tie_word_embeddings": False,
        "dtype": "bfloat16",
    }, 2 * 8_900_000_000),
    "gpu-80gb": ({**QWEN, "hidden_size": 4096, "intermediate_size": 12288, "tie_word_embeddings": False},
                 2 * 9_400_000_000),
}  # fmt: skip
