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
