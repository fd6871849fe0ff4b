"""The models of the shipped recipes, as their published config.json describes them, and the bytes of their weights.

Written down from transformers' defaults and the models' pages, as nothing is downloaded in tests. Bytes are parameters
times their width, those counted that no text needs: a vision tower, a further head.
"""

QWEN = {
    "vocab_size": 248320, "num_hidden_layers": 32, "num_attention_heads": 16, "num_key_value_heads": 4, "head_dim": 256,
    "dtype": "bfloat16", "linear_num_value_heads": 32, "linear_key_head_dim": 128, "linear_value_head_dim": 128,
    "full_attention_interval": 4,
}  # fmt: skip
PUBLISHED = {
    "LiquidAI/LFM2.5-1.2B-Instruct": ({
        "vocab_size": 65536, "hidden_size": 2048, "intermediate_size": 12288, "num_hidden_layers": 16,
        "num_attention_heads": 32, "num_key_value_heads": 8, "tie_word_embeddings": True, "dtype": "bfloat16",
        "block_auto_adjust_ff_dim": True, "block_multiple_of": 256,
        "layer_types": ["full_attention" if block in (2, 5, 8, 10, 12, 14) else "conv" for block in range(16)],
    }, 2 * 1_170_340_608),
    "mlx-community/gemma-3-4b-it-4bit": ({  # the vision tower is in 16 bits
        "text_config": {
            "model_type": "gemma3_text", "hidden_size": 2560, "intermediate_size": 10240, "num_hidden_layers": 34,
        },
        "dtype": "bfloat16", "quantization": {"bits": 4, "group_size": 64},
    }, 3_030_000_000),
    "openai/gpt-oss-20b": ({
        "vocab_size": 201088, "hidden_size": 2880, "intermediate_size": 2880, "num_hidden_layers": 24,
        "num_attention_heads": 64, "num_key_value_heads": 8, "head_dim": 64, "num_local_experts": 32,
        "num_experts_per_tok": 4, "tie_word_embeddings": False, "dtype": "bfloat16",
        "quantization_config": {"quant_method": "mxfp4"},
    }, 13_800_000_000),
    "Qwen/Qwen3.5-4B": ({"text_config": {
        **QWEN, "hidden_size": 2560, "intermediate_size": 9216, "tie_word_embeddings": True,
    }}, 2 * 4_660_000_000),
    "mistralai/Ministral-3-8B-Instruct-2512-BF16": ({"text_config": {
        "vocab_size": 131072, "hidden_size": 4096, "intermediate_size": 14336, "num_hidden_layers": 34,
        "num_attention_heads": 32, "num_key_value_heads": 8, "head_dim": 128, "tie_word_embeddings": False,
        "dtype": "bfloat16",
    }}, 2 * 8_920_000_000),
    "Qwen/Qwen3.5-9B": ({"text_config": {
        **QWEN, "hidden_size": 4096, "intermediate_size": 12288, "tie_word_embeddings": False,
    }}, 2 * 9_650_000_000),
}  # fmt: skip
