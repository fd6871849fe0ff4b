"""The gated delta rule in chunks gives what mlx-lm computes token by token, with a gradient and by no kernel."""

import importlib
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pytest

from mio_local.recipe import PLAIN
from tests.helpers.backends import MIO, MLX, SIZES, batch_of, by_mlx, gradients
from tests.helpers.families import pairs_of
from tests.helpers.some import fast

mx = pytest.importorskip("mlx.core")
mlx_rule = importlib.import_module("mlx_lm.models.gated_delta")
own = importlib.import_module("mio_mlx.layers.gated_delta")
chunks = importlib.import_module("mio_mlx.layers.chunks")
kernels = importlib.import_module("mio_mlx.layers.kernels")
NAMES = ("gated_delta_ops", "gated_delta_kernel")

BATCH, KEY_HEADS, HEADS, WIDTH, VALUES = 2, 2, 4, 32, 16
HYBRID = {"num_hidden_layers": 4, "full_attention_interval": 4, "head_dim": 16, "max_position_embeddings": 512,
          "linear_num_value_heads": 4, "linear_num_key_heads": 2, "linear_key_head_dim": 16,
          "linear_value_head_dim": 16, "linear_conv_kernel_dim": 4}  # fmt: skip
EXPERTS = {"num_experts": 4, "num_experts_per_tok": 2, "decoder_sparse_step": 1, "moe_intermediate_size": 24,
           "shared_expert_intermediate_size": 24, "mlp_only_layers": [], "norm_topk_prob": True,
           "partial_rotary_factor": 0.5}  # fmt: skip
TYPES = {"qwen3_5": {"partial_rotary_factor": 0.5}, "qwen3_next": EXPERTS}


@pytest.fixture(autouse=True)
def on_cpu():
    mx.set_default_device(mx.Device(mx.cpu))


def inputs(length, *, vector, masked, strong):
    """Keys that are alike, so that much of what a token adds is taken back by the next ones."""
    mx.random.seed(length)
    q, k = (mx.random.normal((BATCH, length, KEY_HEADS, WIDTH)) + shift for shift in (0, 2))
    q, k = (x / mx.sqrt((x * x).sum(-1, keepdims=True) + 1e-6) for x in (q, k))
    v = mx.random.normal((BATCH, length, HEADS, VALUES))
    of_decay = (BATCH, length, HEADS, WIDTH) if vector else (BATCH, length, HEADS)
    spread, slow = (2.5, 0) if strong else (0.5, 3)
    decay = -mx.exp(spread * mx.random.normal(of_decay) - slow)  # a logarithm; to -500 and below
    beta = mx.sigmoid(mx.random.normal((BATCH, length, HEADS)) + 1)
    state = 0.3 * mx.random.normal((BATCH, HEADS, VALUES, WIDTH))
    mask = mx.random.bernoulli(0.8, (BATCH, length)) if masked else None
    return (q, k, v, decay, beta, state), mask


def results(rule, given, mask):
    """Outputs where the mask lets them count, the last state, and gradients of a weighted sum of both."""
    mx.random.seed(7)
    length = given[0].shape[1]
    seen = mx.random.normal((BATCH, length, HEADS, VALUES)) * (1 if mask is None else mask[..., None, None])
    of_state = mx.random.normal((BATCH, HEADS, VALUES, WIDTH))

    def found(q, k, v, decay, beta, state):
        return rule(q, k, v, mx.exp(decay), beta, state, mask)

    def total(*arguments):
        out, state = found(*arguments)
        return (out * seen).sum() + (state * of_state).sum()

    out, state = found(*given)
    return [out * (seen != 0), state, *mx.grad(total, argnums=tuple(range(len(given))))(*given)]


@pytest.mark.parametrize("vector", [False, True])
@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("strong", [False, True])
@pytest.mark.parametrize("length", [1, 5, 16, 70, 200])
def test_outputs_state_and_gradients_are_the_rules(length, strong, masked, vector):
    given, mask = inputs(length, vector=vector, masked=masked, strong=strong)
    expected = results(mlx_rule.gated_delta_ops, given, mask)
    for ours, theirs in zip(results(own.chunked, given, mask), expected, strict=True):
        assert float(mx.abs(ours - theirs).max()) < 1e-5 * (float(mx.abs(theirs).max()) + 1e-3)


def test_the_inverse_of_keys_that_are_all_alike():
    """Where powers of A grow to binomials of 64, and a series of them would lose all digits."""
    for width in (8, 16, 64):
        strict = mx.tril(mx.ones((3, width, width)), k=-1)
        product = chunks.unit_lower_inverse(strict) @ (strict + mx.eye(width))
        assert np.array_equal(product, np.tile(np.eye(width), (3, 1, 1)))


def hybrid(kind, *, grad_checkpoint):
    config = {**HYBRID, **TYPES[kind]}
    if kind == "qwen3_5":
        config = {"text_config": {"model_type": "qwen3_5_text", **SIZES, **MLX, **config}}
    model = by_mlx(kind, grad_checkpoint=grad_checkpoint, **config)
    model.use(PLAIN)
    model.most = 10**9
    return model


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", TYPES)
@pytest.mark.parametrize("grad_checkpoint", fast([False, True], [False]))
def test_a_hybrid_trains_without_its_kernel_and_with_the_same_gradient(kind, grad_checkpoint, monkeypatch):
    batch = batch_of(pairs_of(lengths=[(70, 30, 32), (4, 4, 4), (6, 5, 6)]))
    model = hybrid(kind, grad_checkpoint=grad_checkpoint)
    reference = model.logps(batch, reference=True)
    with monkeypatch.context() as patch:
        patch.setattr(kernels, "differentiable", nullcontext)
        plain = model.accumulate(batch, reference, MIO, 1.0).logps
        expected = gradients(model)
    for name in NAMES:
        monkeypatch.setattr(mlx_rule, name, lambda *_: pytest.fail("mlx-lm's own rule, in a pass with a gradient"))
    model.gradient = None
    assert np.allclose(model.accumulate(batch, reference, MIO, 1.0).logps, plain, rtol=0, atol=1e-4)
    for name, ours in gradients(model).items():
        assert np.abs(ours - expected[name]).max() < 1e-5 * max(1.0, np.abs(expected[name]).max()), name


def test_every_layer_of_mlx_lm_ends_in_what_is_replaced():
    for file in Path(mlx_rule.__file__).parent.glob("*.py"):
        if file.name != "gated_delta.py":
            assert not any(name in file.read_text(encoding="utf-8") for name in NAMES), file.name


def test_memory_grows_no_faster_than_the_row():
    peaks = []
    for length in (512, 1024, 2048):
        given, _ = inputs(length, vector=False, masked=False, strong=False)
        mx.eval(given)
        mx.reset_peak_memory()
        before = mx.get_active_memory()
        mx.eval(mx.grad(lambda *x: own.chunked(*x)[0].sum(), argnums=(0, 1, 2))(*given))
        peaks.append(mx.get_peak_memory() - before)
    assert peaks[2] < 2.2 * peaks[1] < 2.2 * 2.2 * peaks[0]
