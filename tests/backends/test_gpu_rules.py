"""What is decided for a GPU, where none is needed to see it."""

import os
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest

from mio_local import process
from mio_local.backends import Device, resolve_backend
from mio_local.cli import run, value_of
from mio_local.errors import BackendError
from mio_local.launched import launchers
from mio_local.objectives.optimizers import OPTIMIZERS
from mio_local.recipe import ModelSettings, SpeedSettings, TrainSettings, build
from tests.helpers.backends import both, move, noisy, start


@pytest.mark.parametrize(("capability", "dtype"), [((7, 5), "float16"), ((8, 0), "bfloat16"), ((9, 0), "bfloat16")])
def test_weights_on_a_cuda_gpu_have_the_type_that_it_computes_in(capability, dtype, monkeypatch):
    torch = pytest.importorskip("torch")
    from mio_cuda import CudaBackend

    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: capability)
    monkeypatch.setattr(CudaBackend, "probe", lambda *_: Device("gpu", "a GPU", 80 * 10**9))
    settled = resolve_backend(build({"backend": {"name": "cuda"}}, "test"))[1]
    assert (settled.model.dtype, settled.backend.device) == (dtype, "gpu")
    asked = build({"backend": {"name": "cuda"}, "model": {"dtype": "float32"}}, "test")
    assert resolve_backend(asked)[1].model.dtype == "float32"


@pytest.mark.parametrize(("half", "brain", "dtype"), [(10.0, 9.0, "bfloat16"), (14.0, 7.0, "float16")])
def test_weights_on_an_apple_gpu_have_the_type_that_it_is_fast_in(half, brain, dtype, monkeypatch):
    pytest.importorskip("mlx.core")
    from mio_mlx import MlxBackend

    rates = {"float16": [half, half / 2], "bfloat16": [brain, brain / 2]}
    monkeypatch.setattr(MlxBackend, "matrix_rates", lambda _, device, dtype="float32": rates[dtype])
    assert MlxBackend().auto_dtype("gpu") == dtype


def test_a_cpu_computes_in_float32():
    recipe = resolve_backend(build({"backend": {"name": "cuda", "device": "cpu"}}, "test"))[1]
    assert recipe.model.dtype == "auto"  # which a CPU takes for float32, and earlier runs have in their recipes


@pytest.mark.parametrize("name", ["WORLD_SIZE", "OMPI_COMM_WORLD_SIZE"])
def test_one_of_several_processes_is_refused(name, monkeypatch, tiny_model, tiny_pairs):
    monkeypatch.setenv(name, "2")
    with pytest.raises(BackendError, match=rf"^{name}=2: a launcher started several processes"):
        run(["bench", "--model", str(tiny_model), "--data", str(tiny_pairs), "--device", "cpu"])
    monkeypatch.setenv(name, "1")
    launchers.check_alone()


@both
def test_what_an_optimiser_keeps_is_there_before_the_first_step(backend, tiny_model):
    """Else the longest pairs would be tried with less in memory than a step has."""
    model = start(backend, tiny_model)
    if backend == "mlx":
        from mlx.utils import tree_flatten

        kept = sum(value.nbytes for _, value in tree_flatten(model.optimizer.state))
    else:
        kept = sum(value.nbytes for value in model.optimizer.tensors().values())
    weights = sum(value.nbytes for value in model.get_adapter().values())
    assert 2 * weights <= kept <= 2.1 * weights + 1000  # AdamW's two moments


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_beginning_of_no_gradient_leaves_no_trace(name):
    """The first steps are those of an optimiser that made nothing ahead."""
    torch = pytest.importorskip("torch")
    from mio_cuda.optimizer import Updates, available

    if name not in available():
        pytest.skip(f"the package of {name} is not installed")

    def stepped(begin):
        torch.manual_seed(0)
        names = [f"model.layers.0.q_proj.lora_{side}" for side in "AB"]
        parameters = {key: torch.nn.Parameter(torch.randn(96, 64)) for key in names}
        begin, own = Updates._begin if begin else lambda _: None, Updates._begin
        try:
            Updates._begin = begin
            updates = Updates(TrainSettings(optimizer=name, weight_decay=0.1), parameters)
        finally:
            Updates._begin = own
        for _ in range(3):
            updates.add([torch.randn_like(one) for one in parameters.values()])
            updates.step(1e-2)
            updates.zero_grad()
        return [one.detach().numpy() for one in parameters.values()]

    for found, expected in zip(stepped(True), stepped(False), strict=True):
        np.testing.assert_array_equal(found, expected)


def test_gradients_add_up_in_the_parameters_type():
    torch = pytest.importorskip("torch")
    from mio_cuda.optimizer import Updates

    parameters = {f"model.layers.0.q_proj.lora_{side}": torch.nn.Parameter(torch.zeros(4, 3)) for side in "AB"}
    updates = Updates(TrainSettings(), parameters)
    slopes = [torch.randn(4, 3).bfloat16(), torch.randn(4, 3)]
    updates.add([slopes[0], None])
    updates.add(slopes)
    a, b = parameters.values()
    assert torch.equal(a.grad, 2 * slopes[0].float())
    assert torch.equal(b.grad, slopes[1])


@pytest.mark.filterwarnings("ignore")
def test_a_16_bit_models_factors_are_copied_once_a_pass(tiny_model):
    """The copies are of the adapter that is scored: after a step the policy's, the reference's for its scoring."""
    torch = pytest.importorskip("torch")
    model = start("cuda", tiny_model, settings=ModelSettings(dtype="bfloat16"))
    model.use(SpeedSettings())
    fresh = model.get_adapter()
    move(model, noisy(fresh))
    copies = [leaf for leaf in model.factors.leaves if leaf.dtype == torch.bfloat16]
    assert len(copies) == len(model.parameters)

    def values():
        return [leaf.detach().float().numpy() for leaf in model.factors.leaves]

    with model._adapter(True):
        reference = values()
    with model._adapter(False):
        policy = values()
    for found, name in zip(reference, model.parameters, strict=True):
        np.testing.assert_array_equal(found, torch.from_numpy(fresh[name]).bfloat16().float().numpy())
    assert any((one != other).any() for one, other in zip(policy, reference, strict=True))


def test_no_blas_is_preloaded_for_a_gpu(monkeypatch):
    monkeypatch.setattr(process, "shutil", SimpleNamespace(which={"nvidia-smi": "/usr/bin/nvidia-smi"}.get))
    assert process.on_gpu("cuda", "auto")
    assert process.on_gpu("auto", "cuda:1")
    assert not process.on_gpu("cuda", "cpu")
    assert not process.on_gpu("mlx", "auto")
    assert value_of(["train", "--backend", "mlx", "--backend=cuda"], "--backend") == "cuda"
    assert value_of(["train", "--backend"], "--backend") == ""
    assert value_of(["train"], "--backend") == ""


@pytest.mark.slow
def test_memory_grows_in_segments_that_expand(tmp_path):
    """Set before PyTorch is imported; what a user set stays."""
    pytest.importorskip("torch")
    code = "import mio_cuda, os; print(os.environ.get('PYTORCH_ALLOC_CONF'))"
    names = ("PYTORCH_ALLOC_CONF", "PYTORCH_CUDA_ALLOC_CONF")
    bare = {key: value for key, value in os.environ.items() if key not in names}
    for given, expected in (({}, "expandable_segments:True"), ({names[0]: "backend:native"}, "backend:native"),
                            ({names[1]: "backend:native"}, "None")):  # fmt: skip
        out = subprocess.run([sys.executable, "-c", code], env={**bare, **given}, capture_output=True, text=True)
        assert out.stdout.strip() == (expected if sys.platform == "linux" else "None")
