"""The GPU's kernels on a CPU, by Triton's own interpreter, beside PyTorch in float64."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("triton")


@pytest.fixture(scope="module")
def found() -> dict[str, dict[str, float]]:
    words = [sys.executable, "-W", "ignore", "-m", "tests.gpu.interpreted"]
    done = subprocess.run(words, env={**os.environ, "TRITON_INTERPRET": "1"}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize(("dtype", "eps"), [("bfloat16", 2**-7), ("float16", 2**-10)])
def test_log_probs_and_gradients_are_rounded_once(found: dict[str, dict[str, float]], dtype: str, eps: float) -> None:
    seen = found[dtype]
    assert seen["logps"] < 4  # float32's units: sums of 8,000 terms in blocks
    assert seen["slopes"] <= 1  # of 16 bits
    assert seen["head"] < 1e-5
    assert seen["gradient"] < 4 * eps


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_the_check_on_the_device_passes(found: dict[str, dict[str, float]], dtype: str) -> None:
    assert found[dtype]["agrees"] == 1


def test_where_the_kernel_cannot_run_the_plain_path_stays(tiny_model: Path) -> None:
    torch = pytest.importorskip("torch")
    from transformers import LlamaForCausalLM

    from mio_cuda.head import Head
    from mio_cuda.kernels.picked_logps import agrees

    here = torch.device("cpu")
    assert not agrees(here, torch.bfloat16)  # without the interpreter
    head = Head(LlamaForCausalLM.from_pretrained(tiny_model, dtype=torch.bfloat16), here, 1)
    plain = head.picked
    head.switch(here, on=True)
    assert head.picked is plain
