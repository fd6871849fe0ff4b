"""Which savings a model of another build gets: whatever is left on gives the plain path's numbers."""

from types import SimpleNamespace

import numpy as np
import pytest

from mio_local.data.examples import Example
from mio_local.errors import ModelError
from mio_local.recipe import PLAIN, UNTOLD, SpeedSettings
from mio_local.training.optimizations import SCORED, settle
from tests.helpers.backends import LORA, MIO, SIZES, TRAIN, batch_of, by_mlx, by_torch, gradients
from tests.helpers.families import pairs_of

pytestmark = [pytest.mark.filterwarnings("ignore"), pytest.mark.usefixtures("two_lanes")]
PAIRS = pairs_of(lengths=[(20, 30, 32), (4, 4, 4), (6, 5, 6), (5, 3, 3)])
DYNAMIC = {"rope_type": "dynamic", "rope_theta": 10000.0, "factor": 4.0}
LONG = {"rope_type": "longrope", "rope_theta": 10000.0, "short_factor": [1.0] * 4, "long_factor": [4.0] * 4,
        "original_max_position_embeddings": 64}  # fmt: skip
# 64 tokens are more than any sequence has, and fewer than a row with both answers
YARN = {"rope_type": "yarn", "rope_theta": 10000.0, "factor": 4.0, "original_max_position_embeddings": 64,
        "llama_4_scaling_beta": 0.1}  # fmt: skip
KINDS = ["sliding_attention", "sliding_attention", "full_attention"] * 2
ROPES = {"sliding_attention": {"rope_type": "default", "rope_theta": 1e4},
         "full_attention": {"rope_type": "proportional", "rope_theta": 1e4, "partial_rotary_factor": 1.0}}  # fmt: skip
GEMMA4 = {"num_hidden_layers": 6, "head_dim": 8, "global_head_dim": 8, "num_global_key_value_heads": 2,
          "sliding_window": 8, "layer_types": KINDS, "num_kv_shared_layers": 3, "hidden_size_per_layer_input": 8,
          "vocab_size_per_layer_input": 263, "use_double_wide_mlp": False, "tie_word_embeddings": True,
          "rope_parameters": ROPES}  # fmt: skip


def passed(model, speed):
    """log ref, log pi of scoring and of training, and the gradient, in the order of a step."""
    model.use(speed)
    batch = batch_of(PAIRS, shared=speed.share_prompt)
    policy, reference = model.logps(batch, reference=False), model.logps(batch, reference=True)
    trained = model.accumulate(batch, reference, MIO, 1 / len(PAIRS)).logps
    return SimpleNamespace(logps=np.concatenate([reference, policy, trained]), gradient=gradients(model))


OPT = {"ffn_dim": 48, "word_embed_proj_dim": 32}
MODELS = {
    "opt": (by_torch, "opt", 0, OPT, set()),
    "phi3, long factors": (by_torch, "phi3", 0, {"num_key_value_heads": 4, "rope_parameters": LONG,
                                                 "original_max_position_embeddings": 64,
                                                 "max_position_embeddings": 256}, set()),
    "llama, dynamic": (by_torch, "llama", 0, {"rope_parameters": DYNAMIC}, set()),
    "recurrent gemma": (by_torch, "recurrent_gemma", 0, {"num_hidden_layers": 3, "lru_width": 32,
                                                         "attention_window_size": 16}, set()),
    "gemma 4": (by_torch, "gemma4_text", 3, GEMMA4, {"frozen_once"}),
    "gemma 4 by mlx": (by_mlx, "gemma4_text", 3, GEMMA4, {"frozen_once"}),
    "llama, dynamic by mlx": (by_mlx, "llama", 0, {"rope_scaling": {"type": "dynamic", "factor": 4.0}},
                              {"share_prompt"}),
    "ministral 3 by mlx": (by_mlx, "ministral3", 0, {"layer_types": ["full_attention"] * 2, "sliding_window": None,
                                                     "rope_parameters": YARN}, set()),
}  # fmt: skip


@pytest.mark.parametrize("name", MODELS)
def test_what_is_left_on_changes_no_number(name):
    """And what is off is told. Recurrent models keep their state in the module: their parts go one after the other."""
    make, kind, layers, config, refused = MODELS[name]
    model = make(kind, layers, **config)
    model.most = 10**9
    plain = passed(model, PLAIN)
    levers = settle(make(kind, layers, **config), SpeedSettings(), PAIRS, 0)
    untold = {lever for lever, why in levers.refused.items() if why in UNTOLD}
    assert set(levers.refused) - untold == refused
    assert ("frozen_once" in untold) == (not layers)
    assert all(lever in levers.text for lever in refused)
    model = make(kind, layers, **config)
    if kind == "recurrent_gemma":
        model.most = 3 * 128 * model.lanes.count  # parts of three pairs and of one
    found = passed(model, levers.speed)
    np.testing.assert_allclose(found.logps, plain.logps, rtol=1e-5, atol=1e-4)
    largest = {key: np.abs(value).max() for key, value in plain.gradient.items()}
    assert max(np.abs(found.gradient[key] - plain.gradient[key]).max() / largest[key] for key in largest) < 2e-3


class Odd:
    """A model with levers that raise or give other numbers."""

    half = False

    def __init__(self, **faults):
        self.faults = faults

    def use(self, speed):
        self.speed = speed
        return {}

    def logps(self, batch, *, reference=False, levers=SCORED):
        faults = [fault for lever, fault in self.faults.items() if lever in levers and getattr(self.speed, lever)]
        for fault in faults:
            if isinstance(fault, Exception):
                raise fault
        return np.full(2 * batch.size, -5.0 + sum(faults), np.float32)

    def rehearse(self, batch, objective):
        return SimpleNamespace(logps=self.logps(batch, levers=("frozen_once",)))


@pytest.mark.parametrize("lever", [*SCORED, "frozen_once"])
@pytest.mark.parametrize(("fault", "told"), [
    (KeyError("sliding_attention"), "it fails: KeyError: 'sliding_attention'"), (1.0, "its log-probs differ"),
    (float("nan"), "its log-probs differ"),
])  # fmt: skip
def test_a_lever_at_fault_is_left_out_by_name(lever, fault, told):
    model = Odd(**{lever: fault})
    levers = settle(model, SpeedSettings(), PAIRS, 0)
    assert set(levers.refused) == {lever}
    assert levers.text.startswith(f"{lever} is off: {told}")
    assert model.speed == levers.speed == SpeedSettings().without([lever])


def test_a_group_is_compared_with_the_plain_path_too():
    """An absent answer's 0 against its 0 is no fault."""
    group = Example([1], [2] * 8, [3] * 8, False, False, False, "", others=([4] * 3, [5]))
    label = Example([1, 2], [], [3], False, False, False, "")
    model = Odd(share_prompt=1.0)
    model.logps = lambda batch, reference=False: batch.tokens * (-1.0 - model.speed.share_prompt * (batch.tokens == 3))
    levers = settle(model, SpeedSettings(frozen_once=False), [label, *[group] * 4], 0)
    assert set(levers.refused) == {"share_prompt"}


def test_levers_at_fault_together_are_all_left_out():
    model = Odd(share_prompt=3e-4, answer_head=3e-4)  # of a tolerance of 4 and more tokens
    levers = settle(model, SpeedSettings(), [Example([1], [2] * 8, [3] * 8, False, False, False, "")], 0)
    assert set(levers.refused) == set(SCORED)
    assert "together" in levers.text


@pytest.mark.parametrize("lever", ["share_prompt", "frozen_once"])
def test_memory_that_runs_out_is_no_levers_fault(lever):
    with pytest.raises(RuntimeError, match="out of memory"):
        settle(Odd(**{lever: RuntimeError("CUDA out of memory.")}), SpeedSettings(), PAIRS, 0)


def test_dense_blocks_among_experts_are_left_out():
    """PEFT would turn an adapter of their MLP into one of the experts."""
    moe = {"moe_intermediate_size": 16, "head_dim": 8, "num_experts": 4, "num_experts_per_tok": 2,
           "mlp_only_layers": [0]}  # fmt: skip
    adapted = {name.rpartition(".")[0].rpartition(".")[2] for name in by_torch("qwen3_moe", **moe).get_adapter()}
    assert adapted == {"q_proj", "k_proj", "v_proj", "o_proj"}


def test_gemma_3n_by_mlx():
    kind = SimpleNamespace(model_type="gemma3n")
    pytest.importorskip("mlx_lm")
    from mio_mlx.model import MlxModel

    with pytest.raises(ModelError, match=r"gemma3n .*--backend cuda"):
        MlxModel.add_lora(SimpleNamespace(model=kind), LORA, TRAIN, [])


def test_a_nested_configs_dropout_and_noise_are_off():
    transformers = pytest.importorskip("transformers")
    from mio_cuda.backend import no_dropout

    text = {"attention_dropout": 0.2, "head_dim": 8, **SIZES}
    config = transformers.AutoConfig.for_model("gemma3", text_config=text)
    experts = transformers.AutoConfig.for_model("mixtral", router_jitter_noise=0.1, **SIZES)
    for one in (config, experts):
        no_dropout(one)
    assert (config.text_config.attention_dropout, experts.router_jitter_noise) == (0, 0)
