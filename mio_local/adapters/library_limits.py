"""Linear layers that one of the two libraries does not adapt, by the model's type: `all-linear` means them on neither.

As of PEFT 0.21 with transformers 5, and mlx-lm 0.32:

- Where an output projection feeds a fused Mamba kernel, PEFT refuses it (peft issue 2556).
- Where transformers stacks the experts into one parameter, PEFT takes the names of the projections inside an expert for
  that parameter, wherever in the model they stand (its `_convert_peft_config_moe`): dense blocks and shared experts of
  the same names get nothing.
- Where mlx-lm absorbs the up-projection of latent attention into the heads, it is no linear layer there.
"""

import re
from collections.abc import Iterable

MAMBA = frozenset({"falcon_h1", "falcon_mamba", "mamba", "mamba2", "nemotron_h"})
STACKED = frozenset({
    "afmoe", "beam", "cohere2_moe", "deepseek_v2", "deepseek_v3", "deepseek_v32", "dots1", "ernie4_5_moe", "exaone_moe",
    "flex_olmo", "glm4_moe", "glm4_moe_lite", "glm4v_moe", "glm_moe_dsa", "hunyuan_v1_moe", "longcat_flash", "mellum",
    "olmoe", "qwen3_moe", "qwen3_next", "qwen3_omni_moe", "qwen3_omni_moe_text", "qwen3_omni_moe_thinker", "solar_open",
})  # fmt: skip
STACKED_LIKE_MIXTRAL = frozenset({"minimax", "minimax_m2", "mixtral"})
ABSORBED = frozenset({
    "bailing_hybrid", "bailing_moe_v3", "deepseek_v3", "deepseek_v32", "glm4_moe_lite", "glm_moe_dsa", "kimi_k25",
    "kimi_k3", "kimi_linear", "longcat_flash", "mistral4",
})  # fmt: skip
EXPERTS = "experts, of which PEFT has no adapter here"  # why a stack of them is left out
ROUTES = "a router of experts"
ROUTER = re.compile("gate|router")  # in the name of one, below what holds the experts
BY_PEFT = (
    (MAMBA, frozenset({"out_proj", "conv1d"}), "PEFT adapts none of this name beside a Mamba kernel"),
    (STACKED, frozenset({"gate", "gate_proj", "up_proj", "down_proj"}), "PEFT takes its name for the stacked experts'"),
    (STACKED_LIKE_MIXTRAL, frozenset({"gate", "w1", "w2", "w3"}), "PEFT takes its name for the stacked experts'"),
)
BY_MLX = ((ABSORBED, frozenset({"kv_b_proj"}), "mlx-lm has no such layer"),)


def refused_by_peft(model_type: str, names: Iterable[str]) -> dict[str, str]:
    """Those of the linear layers `names` of a model of this type that PEFT does not adapt, and why."""
    return _refused(BY_PEFT, model_type, names)


def refused_by_mlx(model_type: str, names: Iterable[str]) -> dict[str, str]:
    """As `refused_by_peft`, of what mlx-lm does not have."""
    return _refused(BY_MLX, model_type, names)


def _refused(
    rules: Iterable[tuple[frozenset[str], frozenset[str], str]], model_type: str, names: Iterable[str]
) -> dict[str, str]:
    mine = [(leaves, why) for types, leaves, why in rules if model_type in types]
    return {name: why for name in names for leaves, why in mine if name.rpartition(".")[2] in leaves}
