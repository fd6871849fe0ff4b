"""A pass with a gradient takes none of the kernels in mlx-lm's models, as none has one, and gives what they would."""

import importlib
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from mio_local.recipe import PLAIN
from tests.helpers.backends import MIO, batch_of, by_mlx, gradients
from tests.helpers.families import pairs_of

mx = pytest.importorskip("mlx.core")
kernels = importlib.import_module("mio_mlx.layers.kernels")
pytestmark = pytest.mark.filterwarnings("ignore")
RWKV = {"norm_eps": 1e-5, "a_low_rank_dim": 8, "v_low_rank_dim": 8, "gate_low_rank_dim": 8, "decay_low_rank_dim": 8,
        "num_hidden_layers": 3}  # fmt: skip


class OnMetal:
    """`mlx.core` of a Mac, as far as a model asks for it."""

    gpu = mx.gpu
    metal = SimpleNamespace(is_available=lambda: True)

    def default_device(self):
        return mx.gpu

    def __getattr__(self, name):
        return getattr(mx, name)


@pytest.fixture(autouse=True)
def on_cpu():
    mx.set_default_device(mx.Device(mx.cpu))


def of_mac(monkeypatch, name, *made):
    """A module of mlx-lm's as it is on a Mac, where what it `made` of a kernel is at hand and must not be taken."""
    module = importlib.import_module(f"mlx_lm.models.{name}")
    monkeypatch.setattr(module, "mx", OnMetal())
    for kernel in made:
        monkeypatch.setattr(module, kernel, lambda *_, **__: pytest.fail(f"{name}'s kernel, in a pass with a gradient"))
    return module


def slopes(call, *given):
    """The result, and the gradient of a weighted sum of all that `call` gives."""

    def total(*given):
        found = call(*given)
        parts = found if isinstance(found, tuple) else (found,)
        return sum((part * mx.cos(mx.arange(part.size).reshape(part.shape))).sum() for part in parts)

    return [np.array(x) for x in mx.grad(total, argnums=tuple(range(len(given))))(*given)]


def same(got, expected):
    for ours, theirs in zip(got, expected, strict=True):
        assert np.abs(ours - theirs).max() < 1e-5 * max(1.0, np.abs(theirs).max())


def test_every_module_with_a_kernel_is_known():
    folder = Path(importlib.import_module("mlx_lm.models").__path__[0])
    found = {file.stem for file in folder.glob("*.py")
             if "metal_kernel(" in (text := file.read_text(encoding="utf-8")) or "cuda_kernel(" in text}  # fmt: skip
    assert found == {place.partition(".")[0] for place, _ in kernels.INSTEAD}


def rwkv_rows(length, heads=3, width=8):
    mx.random.seed(length)
    r, w, k, v, a, b = (mx.random.normal((2, length, heads, width)) for _ in range(6))
    a = a / mx.linalg.norm(a, axis=-1, keepdims=True)  # it removes what it finds along a
    w, b = mx.exp(-0.606531 * mx.sigmoid(w)), -a * mx.sigmoid(b)
    return r, w, k, v, a, b, mx.random.normal((2, heads, width, width))


@pytest.mark.parametrize("length", [1, 5, 16, 70])
def test_rwkvs_recurrence_in_chunks_is_that_by_token(length):
    module = importlib.import_module("mlx_lm.models.rwkv7")
    layer = SimpleNamespace(num_heads=3, head_dim=8)
    given = rwkv_rows(length)

    def by(call):
        def found(*given):
            out, state = call(layer, *given)
            return out.reshape(given[0].shape), state  # by token it has one axis more

        return found

    ours, theirs = by(kernels.wkv7), by(module.Rwkv7TimeMixing._wkv7)
    same([np.array(x) for x in ours(*given)], [np.array(x) for x in theirs(*given)])
    same(slopes(ours, *given), slopes(theirs, *given))


@pytest.mark.parametrize("grad_checkpoint", [False, True])
def test_rwkv_trains_without_its_kernel(grad_checkpoint, monkeypatch):
    batch = batch_of(pairs_of(lengths=[(20, 15, 12), (4, 4, 4), (6, 1, 6)]))
    model = by_mlx("rwkv7", grad_checkpoint=grad_checkpoint, **RWKV)
    model.use(PLAIN)
    reference = model.logps(batch, reference=True)
    with monkeypatch.context() as patch:
        patch.setattr(kernels, "differentiable", nullcontext)
        plain = model.accumulate(batch, reference, MIO, 1.0).logps
        expected = gradients(model)
    of_mac(monkeypatch, "rwkv7", "wkv7_kernel")
    model.gradient = None
    np.testing.assert_allclose(model.accumulate(batch, reference, MIO, 1.0).logps, plain, rtol=2e-7, atol=1e-5)
    for name, ours in gradients(model).items():
        assert np.abs(expected[name]).max() > 0, name
        assert np.abs(ours - expected[name]).max() < 1e-5 * np.abs(expected[name]).max(), name


def test_a_state_space_of_one_token(monkeypatch):
    module = importlib.import_module("mlx_lm.models.ssm")
    x, b, c = (mx.random.normal(shape) for shape in ((2, 1, 4, 8), (2, 1, 1, 16), (2, 1, 1, 16)))
    dt, state = mx.random.normal((2, 1, 4)), mx.random.normal((2, 4, 8, 16))
    a, d, bias = mx.random.normal((4,)), mx.ones((4,)), mx.zeros((4,))

    def update(x, b, c, dt, state):
        return module.ssm_update(x, a, b, c, d, dt, bias, state)

    expected = slopes(update, x, b, c, dt, state)
    of_mac(monkeypatch, "ssm", "ssm_update_kernel")
    with kernels.differentiable():
        same(slopes(update, x, b, c, dt, state), expected)


@pytest.mark.parametrize("inverted", [False, True])
def test_bitnets_layers(inverted, monkeypatch):
    """Rows of weights -1, 0 and 1, a quarter of them in each two bits of the bytes."""
    module = of_mac(monkeypatch, "bitlinear_layers", "_bitlinear_kernel")
    layer = module.BitLinear(5, 8, invert_weight_scales=inverted)
    rng = np.random.default_rng(0)
    weight = rng.integers(-1, 2, (8, 5))
    packed = sum((weight[2 * n : 2 * n + 2] + 1) << (2 * n) for n in range(4))
    layer.weight, layer.weight_scale = mx.array(packed.astype(np.uint8)), mx.array([0.7])
    whole = mx.array(weight.astype(np.float32)) * (1 / 0.7 if inverted else 0.7)
    x = mx.random.normal((2, 3, 5))
    with kernels.differentiable():
        same([np.array(layer(x))], [np.array(x @ whole.T)])
        same(slopes(layer, x), slopes(lambda x: x @ whole.T, x))


def test_kimis_and_deepseeks_mixing_of_streams(monkeypatch):
    blocks = SimpleNamespace(raw=mx.random.normal((3, 2, 4, 8)), inv_rms=mx.ones((3, 2, 4)))
    partial, weight, matrices = mx.random.normal((2, 4, 8)), mx.random.normal((8,)), mx.random.uniform(shape=(5, 4, 4))

    def mixed(kimi):
        return lambda partial: kimi._attn_res_mix(blocks, partial, weight, 1e-6)

    def normed(deepseek):
        return lambda comb: deepseek._sinkhorn(comb, iters=3, eps=mx.array([1e-6]))

    names = [("kimi_k3", "_attn_res_kernel", mixed, partial), ("deepseek_v41", "_sinkhorn_kernel", normed, matrices)]
    for name, kernel, call, given in names:
        expected = slopes(call(importlib.import_module(f"mlx_lm.models.{name}")), given)
        module = of_mac(monkeypatch, name, kernel)
        with kernels.differentiable():
            same(slopes(call(module), given), expected)
