"""What holds on a GPU, where there is one; and that all that `run.py` measures can be measured, on a CPU."""

import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.gpu.run import Suite
from tests.helpers.backends import BACKENDS

RUN = Path(__file__).with_name("run.py")
MOST_OFF = 0.05 * 300  # nats an answer of 300 tokens: what a saving may differ by in 16 bits


def has_gpu(backend: str) -> bool:
    if backend == "mlx" and find_spec("mlx"):
        import mlx.core as mx

        return mx.metal.is_available() or mx.cuda.is_available()
    if backend == "cuda" and find_spec("torch"):
        import torch

        return torch.cuda.is_available()
    return False


@pytest.fixture(params=BACKENDS)
def suite(request: pytest.FixtureRequest, tmp_path: Path) -> Suite:
    if not has_gpu(request.param):
        pytest.skip(f"{request.param} sees no GPU here")
    return Suite(request.param, "gpu", tmp_path, small=True)


def test_savings_and_the_start_are_exact(suite: Suite) -> None:
    found = suite.ask("exactness", "27m")
    assert found["losses"] == pytest.approx(found["expected"], abs=1e-3)
    assert max(found["off"].values()) < MOST_OFF


def test_the_estimate_is_near_the_peak(suite: Suite) -> None:
    seen = suite.ask("memory", "27m", batch=4, length=512, checkpoint=False, settings=[])
    assert seen["estimate"] == pytest.approx(seen["peak"], rel=0.25)


def test_a_run_that_is_taken_up_again_gives_the_same_adapter(suite: Suite) -> None:
    assert suite.ask("resume", "tiny")["off"] < 1e-4


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_the_heads_kernel_is_taken(dtype: str) -> None:
    if not has_gpu("cuda"):
        pytest.skip("PyTorch sees no GPU here")
    import torch

    from mio_cuda.kernels.picked_logps import agrees

    assert agrees(torch.device("cuda:0"), getattr(torch, dtype))


@pytest.mark.slow
@pytest.mark.parametrize("backend", BACKENDS)
def test_what_run_measures_can_be_measured_on_a_cpu(backend: str, tmp_path: Path) -> None:
    only = "doctor,exactness,kernels,resume,out_of_memory"
    words = [sys.executable, "-W", "ignore", RUN, "--cpu", "--backend", backend, "--only", only, "--out", "out.md"]
    done = subprocess.run(list(map(str, words)), cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    text = (tmp_path / "out.md").read_text(encoding="utf-8")
    assert "failed" not in text
    assert "mio 1.3863 (1.3863)" in text
    assert "the same bits" in text
    assert "--memory-limit allows 0.01 GB" in text
