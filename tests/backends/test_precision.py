"""Half-precision and quantised bases: the same start to the bit, and training that works."""

import numpy as np
import pytest

from mio_local.adapters.adapter import read_adapter
from mio_local.errors import ModelError
from mio_local.objectives.losses import objective
from mio_local.recipe import LoraSettings, ModelSettings
from tests.helpers.backends import BACKENDS, LORA, batch_of, both, equal, examples, logits, start, state, step

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning", "ignore::FutureWarning")
QUANTISED = [(backend, bits) for backend in BACKENDS for bits in (4, 8)]
quantised = pytest.mark.parametrize(("backend", "bits"), QUANTISED)


def begin(backend, folder, bits=0, dtype="auto", lora=LORA, adapter=None):
    if bits and backend == "cuda":
        pytest.importorskip("bitsandbytes")
    return start(backend, folder, adapter, lora=lora, settings=ModelSettings(quantize=bits, dtype=dtype))


def check_start(model):
    """Before the first step the log-ratios are 0 to the bit, in the training pass too, so the loss is ln 4."""
    batch = batch_of(examples())
    reference = model.logps(batch, reference=True)
    assert np.isfinite(reference).all()
    assert np.array_equal(reference, model.logps(batch, reference=False))
    scored = model.accumulate(batch, reference, objective("mio", 0.1, "sum"), 1 / 4)
    assert np.array_equal(scored.logps, reference)
    assert scored.loss / 4 == pytest.approx(1.3862943611, abs=1e-6)
    assert model.apply(1e-2) > 0


@both
@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
def test_start_of_a_half_precision_base(backend, tiny_model, dtype):
    check_start(begin(backend, tiny_model, dtype=dtype))


@quantised
def test_start_of_a_quantised_base(backend, bits, tiny_model):
    check_start(begin(backend, tiny_model, bits))


@both
@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_half_precision_trains_float32_weights(backend, tiny_model, dtype):
    """The adapter stays float32: an update of 1e-5 is not rounded away, and bf16's 8 bits would lose it."""
    model, batch = begin(backend, tiny_model, dtype=dtype), batch_of(examples())
    step(model, [batch], rate=1e-2)
    before = model.get_adapter()
    step(model, [batch], rate=1e-5)
    moved = model.get_adapter()
    name = "model.layers.1.mlp.down_proj.lora_B"
    assert np.abs(moved[name] - before[name]).max() == pytest.approx(1e-5, rel=0.5)
    losses = [step(model, [batch])[0] for _ in range(5)]
    assert losses[-1] < losses[0] < 1.3862943611


@quantised
def test_a_quantised_base_learns_and_its_adapter_reloads(backend, bits, tiny_model, tmp_path):
    batch = batch_of(examples())
    model = begin(backend, tiny_model, bits)
    losses = [step(model, [batch])[0] for _ in range(5)]
    assert losses[-1] < losses[0] - 0.01
    model.save_adapter(tmp_path / "adapter")
    saved = read_adapter(tmp_path / "adapter")
    assert equal(saved.weights, model.get_adapter())
    again = begin(backend, tiny_model, bits, adapter=saved)
    np.testing.assert_array_equal(logits(again, range(20)), logits(model, range(20)))
    assert np.array_equal(again.logps(batch, reference=True), model.logps(batch, reference=False))


@quantised
def test_a_quantised_run_restores_to_the_bit(backend, bits, tiny_model, tmp_path):
    batch = batch_of(examples())
    one, two = begin(backend, tiny_model, bits), begin(backend, tiny_model, bits)
    step(one, [batch])
    two.restore_state(state(one, tmp_path / "state"))
    assert step(one, [batch]) == step(two, [batch])
    assert equal(one.get_adapter(), two.get_adapter())


@quantised
def test_dora_on_a_quantised_base(backend, bits, tiny_model):
    lora = LoraSettings(rank=4, alpha=8, dora=True, targets=["q_proj", "down_proj"])
    if (backend, bits) == ("cuda", 8):
        with pytest.raises(ModelError, match="--dora: PEFT loses the scales of an 8-bit base on a CPU"):
            begin(backend, tiny_model, bits, lora=lora)
        return
    model, batch = begin(backend, tiny_model, bits, lora=lora), batch_of(examples())
    losses = [step(model, [batch], rate=3e-3)[0] for _ in range(5)]
    assert losses[0] == pytest.approx(1.3862943611, abs=1e-6)
    assert losses[-1] < losses[0]


@quantised
def test_quantising_changes_the_base_and_only_a_little(backend, bits, tiny_model):
    """A random model of width 32: 8 bits within 0.3 of the largest logit's size, 4 bits within its size."""
    plain, rounded = (logits(begin(backend, tiny_model, b), range(20)) for b in (0, bits))
    error = np.abs(rounded - plain).max() / np.abs(plain).max()
    assert 0 < error < (0.3 if bits == 8 else 1)
