"""Prompts fed once for all answers, on architectures of all kinds: the log-probs and gradients of plain rows."""

import numpy as np
import pytest

from mio_local.recipe import PLAIN
from tests.backends.small_configs import DENSE_BY_MLX, DENSE_BY_TORCH, HYBRIDS_BY_MLX, HYBRIDS_BY_TORCH, LEAVES
from tests.helpers.backends import MIO, batch_of, by_mlx, by_torch, forget, gradients, refusals
from tests.helpers.families import GROUPS, pairs_of

pytestmark = [pytest.mark.filterwarnings("ignore"), pytest.mark.usefixtures("two_lanes")]
# prompts and answers of one token and of many, in a batch whose rows are padded by different amounts
PAIRS = pairs_of(lengths=[(20, 20, 3), (3, 1, 17), (11, 9, 1), (1, 12, 5), (14, 1, 1), (1, 1, 2)])
# of other tokens than seed 0's, one of whose answers Qwen 3.5 computes to 3e-5 alone, in a pair as well
ANSWERS = pairs_of(1, GROUPS)
SHARED = PLAIN.model_copy(update={"share_prompt": True})
QUICK = {"exaone4", "gpt_oss", "ministral3", "mamba2", "qwen3_5_text", "qwen3_5", "lfm2", "recurrent_gemma",
         "deepseek_v3", "falcon_h1", "jamba"}  # fmt: skip
QUICK_GROUPS = {"exaone4", "qwen3_5_text", "qwen3_5", "lfm2"}  # attention with a window, two kinds of recurrence


def some_slow(kinds, quick=QUICK):
    return [kind if kind in quick else pytest.param(kind, marks=pytest.mark.slow) for kind in kinds]


def passed(model, speed, examples):
    """log pi of scoring and of training, and the gradient."""
    assert refusals(model, speed) == {}
    batch = batch_of(examples, shared=speed.share_prompt)
    policy = model.logps(batch, reference=False)
    ahead = np.linspace(6, -6, len(policy), dtype=np.float32)  # the reference moved, so that no log-ratio is 0
    trained = model.accumulate(batch, policy + ahead, MIO, 1 / len(examples)).logps
    gradient = gradients(model)
    forget(model)
    return np.concatenate([policy, trained]), gradient


def shares_exactly(model, record, examples=PAIRS):
    """A sum of 160 nats is exact to 1.5e-5 in float32; a gradient beside the largest entry of its tensor."""
    plain, expected = passed(model, PLAIN, examples)
    logps, gradient = passed(model, SHARED, examples)
    record("log-probs", float(np.abs(logps - plain).max()))
    np.testing.assert_allclose(logps, plain, rtol=2e-7, atol=1e-5)
    largest = {name: np.abs(value).max() for name, value in expected.items()}
    assert min(largest.values()) > 1e-6
    apart = {name: float(np.abs(gradient[name] - expected[name]).max() / largest[name]) for name in largest}
    record("gradients", max(apart.values()))
    assert max(apart.values()) < 1e-5, max(apart, key=apart.__getitem__)


@pytest.mark.parametrize("grad_checkpoint", [False, pytest.param(True, marks=pytest.mark.slow)])
@pytest.mark.parametrize("kind", some_slow({**DENSE_BY_TORCH, **HYBRIDS_BY_TORCH}))
def test_a_transformers_model_shares_exactly(kind, grad_checkpoint, record_property):
    config = {**DENSE_BY_TORCH, **HYBRIDS_BY_TORCH}[kind]
    shares_exactly(by_torch(kind, leaves=LEAVES, grad_checkpoint=grad_checkpoint, **config), record_property)


@pytest.mark.parametrize("grad_checkpoint", [False, pytest.param(True, marks=pytest.mark.slow)])
@pytest.mark.parametrize("kind", some_slow({**DENSE_BY_MLX, **HYBRIDS_BY_MLX}))
def test_an_mlx_model_shares_exactly(kind, grad_checkpoint, record_property):
    config = {**DENSE_BY_MLX, **HYBRIDS_BY_MLX}[kind]
    shares_exactly(by_mlx(kind, grad_checkpoint=grad_checkpoint, **config), record_property)


@pytest.mark.parametrize("grad_checkpoint", [False, pytest.param(True, marks=pytest.mark.slow)])
@pytest.mark.parametrize("kind", some_slow({**DENSE_BY_TORCH, **HYBRIDS_BY_TORCH}, QUICK_GROUPS))
def test_a_transformers_model_shares_groups_exactly(kind, grad_checkpoint, record_property):
    config = {**DENSE_BY_TORCH, **HYBRIDS_BY_TORCH}[kind]
    model = by_torch(kind, leaves=LEAVES, grad_checkpoint=grad_checkpoint, **config)
    shares_exactly(model, record_property, ANSWERS)


@pytest.mark.parametrize("grad_checkpoint", [False, pytest.param(True, marks=pytest.mark.slow)])
@pytest.mark.parametrize("kind", some_slow({**DENSE_BY_MLX, **HYBRIDS_BY_MLX}, QUICK_GROUPS))
def test_an_mlx_model_shares_groups_exactly(kind, grad_checkpoint, record_property):
    model = by_mlx(kind, grad_checkpoint=grad_checkpoint, **{**DENSE_BY_MLX, **HYBRIDS_BY_MLX}[kind])
    shares_exactly(model, record_property, ANSWERS)


def test_pieces_of_a_row_drop_apart():
    """Two pairs that are the same, and an adapter on the forked layers alone: no two pieces drop the same."""
    model = by_mlx("lfm2", leaves=("in_proj",), dropout=0.5, **HYBRIDS_BY_MLX["lfm2"])
    assert refusals(model, SHARED) == {}
    batch = batch_of([PAIRS[2]] * 2, shared=True)
    reference = model.logps(batch, reference=True)
    one, other = model.accumulate(batch, reference, MIO, 1.0).logps.reshape(2, 2).T
    assert np.abs(one - other).min() > 1e-3


@pytest.mark.parametrize("kind", ["lfm2", "mamba2", "qwen3_5_text"])
def test_projections_see_a_prompt_once(kind):
    """Also those of a mixer that runs on both rows of a pair."""
    model = by_torch(kind, leaves=LEAVES, **HYBRIDS_BY_TORCH[kind])
    torch = pytest.importorskip("torch")
    seen = []
    for module in model.model.modules():
        if type(module) is torch.nn.Linear:
            module.register_forward_hook(lambda _, args, __: seen.append(args[0].shape[:-1].numel()))
    batch = batch_of(PAIRS, shared=True)
    model.most = batch.inputs.size * model.lanes.count
    model.use(SHARED)
    model.logps(batch, reference=False)
    assert seen[:-1]
    assert max(seen[:-1]) == batch.inputs.size  # the last is the head


@pytest.mark.parametrize(("kind", "told"), [("bloom", "interface"), ("falcon", "interface"), ("gptj", "interface"),
                                            ("rwkv", "no layer takes a cache")])  # fmt: skip
def test_what_mixes_tokens_in_its_own_way_says_so(kind, told):
    config = {"n_embd": 32, "n_layer": 2, "n_head": 4, "rotary_dim": 4, "attention_hidden_size": 32}
    assert told in by_torch(kind, **config).use(SHARED)["share_prompt"]
