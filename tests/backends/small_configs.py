"""Small configs of many architectures, as each library's own config class takes them beside `SIZES`."""

SLIDING, FULL, LINEAR = "sliding_attention", "full_attention", "linear_attention"
WINDOW = {"sliding_window": 6, "layer_types": [SLIDING, FULL]}
EXPERTS = {"num_local_experts": 4, "num_experts_per_tok": 2}
DELTA = {"num_hidden_layers": 4, "head_dim": 16, "linear_num_value_heads": 4, "linear_num_key_heads": 2,
         "linear_key_head_dim": 16, "linear_value_head_dim": 16, "linear_conv_kernel_dim": 4}  # fmt: skip
DELTA_EXPERTS = {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 24, "mlp_only_layers": [],
                 "shared_expert_intermediate_size": 24, "decoder_sparse_step": 1}  # fmt: skip
# the projections that PEFT adapts in all of them
LEAVES = ("q_proj", "k_proj", "v_proj", "o_proj", "in_proj", "in_proj_qkv", "in_proj_qkvz", "in_proj_z", "in_proj_ba",
          "qkv_proj", "output_gate", "query_key_value", "c_attn", "kv_b_proj", "linear_x")  # fmt: skip

# attention in every block
DENSE_BY_TORCH = {
    "apertus": {"hidden_act": "xielu"}, "bitnet": {}, "ernie4_5": {"head_dim": 8}, "exaone4": WINDOW,
    "gpt2": {"n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 64}, "gpt_neox": {}, "smollm3": {},
    "gpt_bigcode": {"n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 64}, "helium": {"head_dim": 8},
    "gpt_oss": {**EXPERTS, **WINDOW, "head_dim": 8}, "hunyuan_v1_dense": {"head_dim": 8}, "seed_oss": {"head_dim": 8},
    "ministral3": {"head_dim": 8, "rope_parameters": {
        "rope_type": "yarn", "rope_theta": 1e4, "factor": 4.0, "original_max_position_embeddings": 16,
        "beta_fast": 32.0, "beta_slow": 1.0, "mscale": 1.0, "mscale_all_dim": 1.0, "llama_4_scaling_beta": 0.1}},
    "olmoe": {"num_experts": 4, "num_experts_per_tok": 2},
    "deepseek_v3": {"num_key_value_heads": 4, "q_lora_rank": 24, "kv_lora_rank": 16, "qk_rope_head_dim": 8,
                    "qk_nope_head_dim": 16, "v_head_dim": 16, "n_routed_experts": 4, "num_experts_per_tok": 2,
                    "moe_intermediate_size": 24, "n_group": 2, "topk_group": 1, "first_k_dense_replace": 1},
    "qwen2_moe": {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 24, "use_sliding_window": True,
                  "shared_expert_intermediate_size": 24, **WINDOW},
}  # fmt: skip

# state spaces, gated delta rules, short convolutions and other recurrences
HYBRIDS_BY_TORCH = {
    "mamba": {"state_size": 8},
    "mamba2": {"state_size": 16, "num_heads": 4, "head_dim": 16, "expand": 2, "n_groups": 1, "chunk_size": 8},
    "falcon_h1": {"head_dim": 8, "mamba_d_ssm": 32, "mamba_n_heads": 4, "mamba_d_head": 8, "mamba_d_state": 16,
                  "mamba_n_groups": 1, "mamba_chunk_size": 8},
    "nemotron_h": {"head_dim": 8, "mamba_num_heads": 4, "mamba_head_dim": 16, "ssm_state_size": 16, "n_groups": 1,
                   "chunk_size": 8, "layers_block_type": ["mamba", "mlp", "attention"], "num_hidden_layers": 3},
    "granitemoehybrid": {**EXPERTS, "shared_intermediate_size": 48, "layer_types": ["mamba", "attention"],
                         "mamba_n_heads": 4, "mamba_d_head": 16, "mamba_d_state": 16, "mamba_n_groups": 1,
                         "mamba_expand": 2, "mamba_chunk_size": 8},
    "jamba": {"num_experts": 4, "num_experts_per_tok": 2, "attn_layer_period": 2, "attn_layer_offset": 1,
              "expert_layer_period": 2, "expert_layer_offset": 1, "mamba_d_state": 8, "mamba_dt_rank": 4,
              "use_mamba_kernels": False},
    "qwen3_5_text": DELTA, "qwen3_next": {**DELTA, **DELTA_EXPERTS},
    "olmo_hybrid": {"layer_types": [LINEAR, FULL], "linear_num_value_heads": 4, "linear_num_key_heads": 4,
                    "linear_key_head_dim": 16, "linear_value_head_dim": 16},
    "lfm2": {"layer_types": ["conv", FULL], "block_auto_adjust_ff_dim": False},
    "lfm2_moe": {"layer_types": ["conv", FULL], "num_experts": 4, "num_experts_per_tok": 2, "num_dense_layers": 1,
                 "moe_intermediate_size": 24},
    "minimax": {**EXPERTS, "head_dim": 8, "block_size": 8, "layer_types": [LINEAR, FULL]},
    "recurrent_gemma": {"num_hidden_layers": 3, "lru_width": 32, "attention_window_size": 6},
}  # fmt: skip

MAMBA_MLX = {"conv_kernel": 4, "use_bias": False, "use_conv_bias": True, "time_step_rank": 4}
GRANITE = {"attention_bias": False, "embedding_multiplier": 1.0, "attention_multiplier": 0.3, "logits_scaling": 1.0,
           "residual_multiplier": 1.0, "mamba_n_heads": 4, "mamba_d_head": 16, "mamba_proj_bias": False,
           "mamba_d_state": 16, "mamba_d_conv": 4, "mamba_n_groups": 1, "mamba_conv_bias": True,
           "layer_types": ["mamba", "attention"], **EXPERTS, "shared_intermediate_size": 48}  # fmt: skip
LATENT = {"kv_lora_rank": 16, "q_lora_rank": 24, "qk_rope_head_dim": 8, "qk_nope_head_dim": 16, "v_head_dim": 16}
BAILING = {"moe_intermediate_size": 24, "num_experts": 4, "num_experts_per_tok": 2, "num_shared_experts": 1,
           "n_group": 1, "topk_group": 1, "first_k_dense_replace": 1, "layer_group_size": 2, "group_norm_size": 2,
           "routed_scaling_factor": 1.0, "norm_topk_prob": True, "num_key_value_heads": 4}  # fmt: skip
LFM2 = {"norm_eps": 1e-5, "conv_bias": False, "conv_L_cache": 3, "layer_types": ["conv", FULL], "block_dim": 32,
        "block_ff_dim": 48, "block_multiple_of": 8, "block_ffn_dim_multiplier": 1.0,
        "block_auto_adjust_ff_dim": False}  # fmt: skip
DENSE_BY_MLX = {
    "hunyuan_v1_dense": {"attention_bias": False, "use_qk_norm": True,
                         "rope_scaling": {"alpha": 1000.0, "factor": 1.0, "type": "dynamic"}},
    "deepseek_v3": DENSE_BY_TORCH["deepseek_v3"] | {"n_shared_experts": 1, "rope_scaling": None,
                                                    "norm_topk_prob": True},
    "ministral3": {"layer_types": [FULL] * 2, "sliding_window": None,
                   "rope_parameters": DENSE_BY_TORCH["ministral3"]["rope_parameters"]},
    "gpt_oss": {**EXPERTS, **WINDOW, "rope_theta": 1e4, "rope_scaling": None},
}  # fmt: skip
HYBRIDS_BY_MLX = {
    "mamba": {**MAMBA_MLX, "state_size": 8},
    "mamba2": {**MAMBA_MLX, "num_heads": 4, "head_dim": 16, "state_size": 16, "layer_norm_epsilon": 1e-5, "n_groups": 1,
               "time_step_limit": (0.0, float("inf"))},
    "falcon_h1": {"mamba_d_ssm": 32, "mamba_n_heads": 4, "mamba_d_head": 8, "mamba_d_state": 16},
    "nemotron_h": {**MAMBA_MLX, "attention_bias": False, "mamba_num_heads": 4, "mamba_head_dim": 16, "mlp_bias": False,
                   "mamba_proj_bias": False, "ssm_state_size": 16, "n_groups": 1, "layer_norm_epsilon": 1e-5,
                   "hybrid_override_pattern": ["M", "-", "*"]},
    "granitemoehybrid": GRANITE,
    "jamba": HYBRIDS_BY_TORCH["jamba"] | {"mamba_d_conv": 4, "mamba_expand": 2},
    "qwen3_5": {"text_config": {"model_type": "qwen3_5_text", "vocab_size": 263, "hidden_size": 32,
                                "intermediate_size": 48, "num_attention_heads": 4, "num_key_value_heads": 2,
                                "max_position_embeddings": 512, "rms_norm_eps": 1e-5, "rope_theta": 1e4,
                                "tie_word_embeddings": False, "full_attention_interval": 4,
                                "partial_rotary_factor": 0.5, **DELTA}},
    "qwen3_next": {**DELTA, **DELTA_EXPERTS, "norm_topk_prob": True, "full_attention_interval": 4,
                   "partial_rotary_factor": 0.5},
    "olmo_hybrid": {**DELTA, "num_hidden_layers": 2, "layer_types": [LINEAR, FULL], "head_dim": 8,
                    "linear_allow_neg_eigval": True, "attention_bias": False},
    "kimi_linear": {**LATENT, "model_max_length": 512, "num_experts": 4, "num_experts_per_token": 2,
                    "moe_intermediate_size": 24, "num_shared_experts": 1, "first_k_dense_replace": 1,
                    "linear_attn_config": {"kda_layers": [1], "full_attn_layers": [2], "head_dim": 16, "num_heads": 4,
                                           "short_conv_kernel_size": 4}},
    "lfm2": LFM2,
    "lfm2_moe": {**LFM2, "moe_intermediate_size": 24, "num_experts": 4, "num_experts_per_tok": 2,
                 "norm_topk_prob": True, "use_expert_bias": True, "num_dense_layers": 1},
    "rwkv7": {"norm_eps": 1e-5, "a_low_rank_dim": 8, "v_low_rank_dim": 8, "gate_low_rank_dim": 8,
              "decay_low_rank_dim": 8},
    "bailing_moe_linear": BAILING,
    "bailing_hybrid": {**BAILING, **LATENT},
}  # fmt: skip
