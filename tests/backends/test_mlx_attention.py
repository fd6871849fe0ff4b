"""Attention of MLX's backend: the same for what is scored and for what is trained, and as many operations for eight
pairs as for one."""

import io
import re
from collections import Counter

import numpy as np
import pytest

from mio_local.recipe import PLAIN, SpeedSettings
from tests.backends.small_configs import DENSE_BY_MLX, HYBRIDS_BY_MLX, LEAVES
from tests.backends.test_shared_prompt import PAIRS, SHARED, passed, some_slow
from tests.helpers.backends import MIO, batch_of, by_mlx
from tests.helpers.families import pairs_of

pytestmark = pytest.mark.filterwarnings("ignore")
VIEWS = {"AsStrided", "Broadcast", "ExpandDims", "Flatten", "Reshape", "Slice", "Squeeze", "Transpose", "Unflatten"}
QUICK = {"exaone4", "gpt_oss", "qwen3_5_text"}  # attention with a window, with sinks, beside a recurrence


@pytest.mark.parametrize("kind", some_slow({**DENSE_BY_MLX, **HYBRIDS_BY_MLX}, QUICK))
def test_a_gpus_fused_kernel_scores_nothing(kind, monkeypatch):
    """On Metal, MLX would take it for the reference and not for the policy. By operations it is as by MLX's own."""
    mx = pytest.importorskip("mlx.core")
    model = by_mlx(kind, leaves=LEAVES, **{**DENSE_BY_MLX, **HYBRIDS_BY_MLX}[kind])
    logps, gradient = passed(model, PLAIN, PAIRS)

    def fused(*_, **__):
        raise AssertionError("the fused kernel was taken")

    monkeypatch.setattr("mio_mlx.layers.attention.on_cpu", lambda: False)
    monkeypatch.setattr(mx.fast, "scaled_dot_product_attention", fused)
    for speed in (PLAIN, SHARED):
        found, slopes = passed(model, speed, PAIRS)
        np.testing.assert_allclose(found, logps, rtol=2e-7, atol=1e-5)
        for name, expected in gradient.items():
            np.testing.assert_allclose(slopes[name], expected, rtol=0, atol=1e-5 * np.abs(expected).max())


def operations(layers, pairs, **given):
    """How often MLX computes what, views left out, to train on so many pairs."""
    mx = pytest.importorskip("mlx.core")
    from mlx.utils import tree_flatten

    model = by_mlx("llama", layers, **given, num_hidden_layers=layers)
    model.use(SpeedSettings())
    lengths = [(20 + n, 15 + 2 * n, 30 - n) for n in range(pairs)]
    batch, stream = batch_of(pairs_of(lengths=lengths), shared=True), mx.default_stream(mx.cpu)
    reference = np.zeros(2 * pairs, np.float32)
    with model._training(), model._fed(batch, [stream]) as cache:
        (_, loss, logps), slopes = model.value_and_grad(batch, cache, [stream], reference, MIO, 1.0)
    mx.export_to_dot(written := io.StringIO(), loss, logps, *(slope for _, slope in tree_flatten(slopes)))
    return Counter(name for name in re.findall(r'label ?= ?"([A-Z]\w+)"', written.getvalue()) if name not in VIEWS)


def test_a_block_has_as_many_operations_for_many_pairs_as_for_one():
    counts = [sum((operations(3, pairs) - operations(2, pairs)).values()) for pairs in (1, 4, 8)]
    assert counts[0] > 100
    assert max(counts) < 1.05 * counts[0], counts
