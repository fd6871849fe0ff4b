"""Small random models of the architectures that people tune, written as the hub has them, with a byte tokenizer.

transformers makes and saves each; `hub` is what the published config.json carries beside that and mlx-lm reads, and
`inner` the same for the text part of a model that takes pictures.
"""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.helpers.tiny_model import write_tokenizer

FULL, SLIDING = "full_attention", "sliding_attention"
THETA = 10000.0


@dataclass(frozen=True)
class Architecture:
    """`config`: of transformers' model type `kind`. `pictures`: that of the vision part, for a model that has one."""

    kind: str
    config: dict[str, Any] = field(default_factory=dict)
    hub: dict[str, Any] = field(default_factory=dict)
    pictures: dict[str, Any] | None = None
    inner: dict[str, Any] = field(default_factory=dict)


SIZES = {
    "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 3, "num_attention_heads": 4,
    "num_key_value_heads": 2, "max_position_embeddings": 1024, "bos_token_id": None,
}  # fmt: skip
GPT = {"n_embd": 64, "n_layer": 3, "n_head": 4, "n_positions": 1024}
EXPERTS = {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 32}
LOCAL = {"num_local_experts": 4, "num_experts_per_tok": 2}
ROUTED = {"n_routed_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 32, "n_shared_experts": 1,
          "first_k_dense_replace": 1, "n_group": 1, "topk_group": 1}  # fmt: skip
LATENT = {"num_key_value_heads": 4, "kv_lora_rank": 16, "qk_rope_head_dim": 8, "qk_nope_head_dim": 16,
          "v_head_dim": 16}  # fmt: skip
DELTA = {"head_dim": 16, "num_hidden_layers": 4, "linear_num_value_heads": 4, "linear_num_key_heads": 2,
         "linear_key_head_dim": 16, "linear_value_head_dim": 16}  # fmt: skip
GRANITE = {"embedding_multiplier": 12.0, "logits_scaling": 8.0, "residual_multiplier": 0.22,
           "attention_multiplier": 0.0625}  # fmt: skip
WIDE, TIED, UNTIED = {"head_dim": 16}, {"tie_word_embeddings": True}, {"tie_word_embeddings": False}
LINEAR_ROPE = {"rope_type": "linear", "rope_theta": THETA, "factor": 4.0}
YARN = {"rope_type": "yarn", "rope_theta": THETA, "factor": 4.0, "original_max_position_embeddings": 256}
VISION = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 2,
          "image_size": 28, "patch_size": 14}  # fmt: skip
QWEN_VISION = {"depth": 2, "hidden_size": 32, "intermediate_size": 48, "num_heads": 2, "out_hidden_size": 64,
               "patch_size": 14}  # fmt: skip
QWEN_TOKENS = {"image_token_id": 5, "video_token_id": 6, "vision_start_token_id": 7, "vision_end_token_id": 8}
MROPE = {"rope_type": "default", "rope_theta": THETA, "mrope_section": [4, 2, 2]}

ARCHITECTURES = {
    "llama": Architecture("llama", {"attention_bias": True, "mlp_bias": True, **TIED}),
    "llama_linear": Architecture("llama", {"rope_parameters": LINEAR_ROPE}),
    "qwen2": Architecture("qwen2"),
    "qwen2_yarn": Architecture("qwen2", {"rope_parameters": YARN}),
    "qwen3": Architecture("qwen3", {**WIDE, **TIED}),
    "qwen3_moe": Architecture("qwen3_moe", {**WIDE, **EXPERTS, "decoder_sparse_step": 1, "mlp_only_layers": []}),
    "qwen2_moe": Architecture("qwen2_moe", {**EXPERTS, "shared_expert_intermediate_size": 48,
                                            "decoder_sparse_step": 1, "mlp_only_layers": []}),
    "qwen3_next": Architecture("qwen3_next", {**DELTA, **EXPERTS, "shared_expert_intermediate_size": 48,
                                              "decoder_sparse_step": 1, "mlp_only_layers": []}),
    "qwen3_5": Architecture("qwen3_5", {**DELTA, "rope_parameters": {**MROPE, "partial_rotary_factor": 1.0},
                                        **QWEN_TOKENS}, pictures=QWEN_VISION, inner=UNTIED, hub=UNTIED),
    "qwen3_vl": Architecture("qwen3_vl", {**WIDE, "rope_parameters": MROPE, **QWEN_TOKENS}, inner=UNTIED, hub=UNTIED,
                             pictures={**QWEN_VISION, "deepstack_visual_indexes": [0]}),
    "mistral": Architecture("mistral", {**WIDE, "sliding_window": None}),
    "ministral3": Architecture("ministral3", {**WIDE, "rope_parameters": {
        **YARN, "beta_fast": 32.0, "beta_slow": 1.0, "mscale": 1.0, "mscale_all_dim": 1.0,
        "llama_4_scaling_beta": 0.1}}),
    "mistral3": Architecture("mistral3", {**WIDE, "model_type": "mistral", "sliding_window": None, **TIED,
                                          "image_token_index": 5, "spatial_merge_size": 2},
                             pictures={**VISION, "model_type": "pixtral", "head_dim": 16}, inner=TIED, hub=TIED),
    "mixtral": Architecture("mixtral", {**LOCAL, "sliding_window": None}),
    "gemma2": Architecture("gemma2", {**WIDE, **TIED, "query_pre_attn_scalar": 16}),
    "gemma3_text": Architecture("gemma3_text", {**WIDE, **TIED, "sliding_window": 512, "query_pre_attn_scalar": 16,
                                                "num_hidden_layers": 6}, {"sliding_window_pattern": 6}),
    "gemma3": Architecture("gemma3", {**WIDE, "model_type": "gemma3_text", "sliding_window": 512,
                                      "query_pre_attn_scalar": 16, "num_hidden_layers": 6, "image_token_index": 5,
                                      "boi_token_index": 6, "eoi_token_index": 7, "mm_tokens_per_image": 4},
                           pictures={**VISION, "model_type": "siglip_vision_model"},
                           inner={"sliding_window_pattern": 6}),
    "gpt_oss": Architecture("gpt_oss", {**WIDE, **LOCAL, "sliding_window": 128,
                                        "layer_types": [SLIDING, FULL, SLIDING]}),
    "llama4_text": Architecture("llama4_text", {**WIDE, "num_local_experts": 4, "num_experts_per_tok": 1,
                                                "interleave_moe_layer_step": 1, "intermediate_size_mlp": 96}),
    "llama4": Architecture("llama4", {**WIDE, "model_type": "llama4_text", "num_local_experts": 4,
                                      "num_experts_per_tok": 1, "interleave_moe_layer_step": 1,
                                      "intermediate_size_mlp": 96, "num_hidden_layers": 4, "image_token_index": 5,
                                      "boi_token_index": 6, "eoi_token_index": 7},
                           pictures={**VISION, "vision_output_dim": 32, "projector_input_dim": 32,
                                     "projector_output_dim": 32, "pixel_shuffle_ratio": 0.5},
                           inner={"rope_scaling": None, "attention_bias": False}),
    "phi": Architecture("phi"),
    "phi3": Architecture("phi3", {"sliding_window": 2047}, {"rope_scaling": None}),
    "smollm3": Architecture("smollm3", {**TIED, "num_hidden_layers": 4, "no_rope_layers": [1, 1, 1, 0]},
                            {"no_rope_layer_interval": 4}),
    "olmo2": Architecture("olmo2"),
    "olmo3": Architecture("olmo3", {"num_hidden_layers": 4, "sliding_window": 4096}),
    "olmoe": Architecture("olmoe", {"num_experts": 4, "num_experts_per_tok": 2, "intermediate_size": 32}),
    "granite": Architecture("granite", GRANITE),
    "granitemoe": Architecture("granitemoe", {**LOCAL, **GRANITE}),
    "granitemoehybrid": Architecture("granitemoehybrid", {
        **LOCAL, **GRANITE, **TIED, "shared_intermediate_size": 48, "layer_types": ["mamba", "attention", "mamba"],
        "mamba_n_heads": 4, "mamba_d_head": 32, "mamba_d_state": 16, "mamba_n_groups": 1, "mamba_expand": 2,
        "position_embedding_type": "rope"}, {"layer_types": ["mamba", "attention", "mamba"]}),
    "lfm2": Architecture("lfm2", {**TIED, "layer_types": ["conv", FULL, "conv"], "block_auto_adjust_ff_dim": False},
                         {"block_dim": 64, "block_ff_dim": 96, "conv_bias": False, "conv_L_cache": 3}),
    "lfm2_moe": Architecture("lfm2_moe", {**TIED, **EXPERTS, "layer_types": ["conv", FULL, "conv"],
                                          "num_dense_layers": 1},
                             {"block_dim": 64, "block_ff_dim": 96, "conv_bias": False, "conv_L_cache": 3}),
    "glm4": Architecture("glm4", {**WIDE, "partial_rotary_factor": 0.5}),
    "glm4_moe": Architecture("glm4_moe", {**WIDE, **ROUTED, "partial_rotary_factor": 0.5}, {"rope_scaling": None}),
    "deepseek_v3": Architecture("deepseek_v3", {**ROUTED, **LATENT, "q_lora_rank": 24, "n_group": 2}),
    "deepseek_v2": Architecture("deepseek_v2", {**ROUTED, **LATENT, "q_lora_rank": None, "head_dim": 8,
                                                "topk_method": "greedy",
                                                "rope_parameters": YARN}),
    "dots1": Architecture("dots1", {**WIDE, **ROUTED, "norm_topk_prob": True}),
    "falcon_h1": Architecture("falcon_h1", {**WIDE, "mamba_d_ssm": 64, "mamba_n_heads": 4, "mamba_d_head": 16,
                                            "mamba_d_state": 16, "mamba_n_groups": 1}),
    "nemotron_h": Architecture("nemotron_h", {**WIDE, "mamba_num_heads": 4, "mamba_head_dim": 16,
                                              "ssm_state_size": 16, "n_groups": 1, "num_hidden_layers": 4,
                                              "hybrid_override_pattern": "M-*-",
                                              "layers_block_type": ["mamba", "mlp", "attention", "mlp"]}),
    "jamba": Architecture("jamba", {"num_experts": 4, "num_experts_per_tok": 2, "attn_layer_period": 2,
                                    "attn_layer_offset": 1, "expert_layer_period": 2, "expert_layer_offset": 1,
                                    "mamba_d_state": 8, "mamba_dt_rank": 4}),
    "mamba": Architecture("mamba", {"state_size": 8}),
    "mamba2": Architecture("mamba2", {"state_size": 16, "num_heads": 8, "head_dim": 16, "expand": 2, "n_groups": 1}),
    "starcoder2": Architecture("starcoder2", {"sliding_window": None}, {"norm_epsilon": 1e-5}),
    "gpt2": Architecture("gpt2", GPT, {"n_ctx": 1024}),
    "gpt_neox": Architecture("gpt_neox", {"intermediate_size": 256}, {"rotary_emb_base": 10000, "rotary_pct": 0.25}),
    "stablelm": Architecture("stablelm"),
    "cohere": Architecture("cohere", {"logit_scale": 0.0625}),
    "cohere2": Architecture("cohere2", {**WIDE, "num_hidden_layers": 4, "sliding_window": 4096, "logit_scale": 0.0625}),
    "exaone4": Architecture("exaone4", {"num_hidden_layers": 4, "sliding_window": 4096, "sliding_window_pattern": 4,
                                        "layer_types": [SLIDING, SLIDING, SLIDING, FULL]},
                            {"head_dim": 16, "rope_scaling": None, "sliding_window_pattern": "LLLG"}),
    "seed_oss": Architecture("seed_oss", WIDE),
    "ernie4_5": Architecture("ernie4_5", WIDE),
    "helium": Architecture("helium", WIDE),
    "nemotron": Architecture("nemotron"),
    "apertus": Architecture("apertus", {"hidden_act": "xielu"}, {"mlp_bias": False, "post_norm": False,
                                                               "qk_norm": True}),
    "hunyuan_v1_dense": Architecture("hunyuan_v1_dense", {**WIDE, "rope_parameters": {
        "rope_type": "dynamic", "alpha": 1000.0, "factor": 1.0, "rope_theta": THETA}}),
    "falcon": Architecture("falcon", {"new_decoder_architecture": True, "num_kv_heads": 2, "alibi": False,
                                      "parallel_attn": True}),
    "opt": Architecture("opt", {"ffn_dim": 96, "word_embed_proj_dim": 64}),
}  # fmt: skip


def write_architecture(name: str, folder: Path, seed: int = 0) -> Path:
    """The architecture called `name` as a model folder with random weights of the usual sizes."""
    import torch
    import transformers

    one = ARCHITECTURES[name]
    folder.mkdir(parents=True)
    vocabulary = write_tokenizer(folder)
    sizes = {} if one.kind.startswith("gpt2") else SIZES
    text = {**sizes, "vocab_size": vocabulary, "eos_token_id": vocabulary - 2, "pad_token_id": vocabulary - 1,
            **one.config}  # fmt: skip
    if one.pictures is None:
        config = transformers.AutoConfig.for_model(one.kind, **text)
        auto = transformers.AutoModelForCausalLM
    else:
        outer = {key: text.pop(key) for key in list(text) if "token_" in key and key.split("_")[0] not in
                 ("bos", "eos", "pad")} | {key: text.pop(key) for key in ("mm_tokens_per_image", "spatial_merge_size")
                                           if key in text}  # fmt: skip
        config = transformers.AutoConfig.for_model(one.kind, text_config=text, vision_config=one.pictures, **outer)
        auto = transformers.AutoModelForImageTextToText
    torch.manual_seed(seed)
    model = auto.from_config(config).float()
    _randomise(model, seed)
    model.save_pretrained(folder)
    _as_published(folder, one, vocabulary)
    return folder


def _randomise(model: Any, seed: int) -> None:
    """Weights large enough for every layer to matter, norms that are not one, biases and gates that are not zero."""
    import torch

    draw = torch.Generator().manual_seed(seed + 1)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            leaf = name.rpartition(".")[2]
            if "conv" in name or leaf in ("A_log", "dt_bias", "D"):
                continue
            noise = torch.randn(weight.shape, generator=draw)
            if weight.ndim >= 2:
                weight.copy_(noise * weight.shape[-1] ** -0.5)
            elif weight.ndim == 1:
                weight.add_(noise * 0.1)


def _as_published(folder: Path, one: Architecture, vocabulary: int) -> None:
    """config.json with the keys of older releases, which the hub's files have and mlx-lm reads."""
    file = folder / "config.json"
    config = json.loads(file.read_text(encoding="utf-8"))
    for part, more in ((config, one.hub), (config.get("text_config"), one.inner)):
        if not isinstance(part, dict):
            continue
        ropes = part.get("rope_parameters") or {}
        rope = ropes.get(FULL, ropes)
        part.setdefault("rope_theta", rope.get("rope_theta", THETA))
        if SLIDING in ropes:
            part.setdefault("rope_local_base_freq", ropes[SLIDING].get("rope_theta", THETA))
        if rope.get("rope_type", "default") != "default":
            part.setdefault("rope_scaling", {**rope, "type": rope["rope_type"]})
        if "partial_rotary_factor" in rope:
            part.setdefault("partial_rotary_factor", rope["partial_rotary_factor"])
        if "num_local_experts" in part and part["model_type"] not in ("mixtral", "gpt_oss", "granitemoe"):
            part.setdefault("num_experts", part["num_local_experts"])
        part.update(more)
    config.setdefault("vocab_size", vocabulary)
    config.setdefault("torch_dtype", "float32")
    file.write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
