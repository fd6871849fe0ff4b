"""Memory limits: what is refused before a model is loaded, what a step over the longest pairs tells, and what to do."""

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from mio_local.data.examples import Example
from mio_local.errors import RecipeError, is_out_of_memory
from mio_local.memory.estimate import estimate
from mio_local.memory.fitting import allowed
from mio_local.memory.rehearsal import Rehearsal
from mio_local.models.shapes import read_shape
from mio_local.recipe import build
from tests.helpers.backends import LORA, MIO, batch_of, both, equal, examples, gradients, start
from tests.helpers.tiny_model import write_tiny_model

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning")
LONG = Example([1] * 60, [2] * 40, [3] * 30, False, False, False, "")
SHORT = Example([1] * 6, [2] * 4, [3] * 3, False, False, False, "")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_tiny_model(tmp_path_factory.mktemp("room") / "tiny")


def recipe(limit="auto", **train):
    return build({"train": train, "backend": {"memory_limit": limit}}, "test")


def room(folder, limit="auto", kind="cpu", backend="mlx", free=None, held_out=(), **train):
    made = recipe(limit, **train)
    free = allowed(made, kind) if free is None else free
    return Rehearsal(made, backend, kind, folder, [SHORT, LONG, SHORT], list(held_out), free)


@pytest.mark.parametrize(
    ("typed", "kept"),
    [
        ("12GB", "12"), ("12", "12"), (12, "12"), ("0.5 gb", "0.5"), ("800MB", "0.8"), ("999999", "999999"),
        ("None", "none"), ("AUTO", "auto"),
    ],
)
def test_a_limit_is_kept_in_gigabytes(typed, kept):
    limit = recipe(typed).backend.memory_limit
    assert limit == kept
    assert recipe(limit).backend.memory_limit == kept


@pytest.mark.parametrize("typed", ["", "0", "lots", "12TB", "-3", "1e3", "0.1MB", "9" * 400])
def test_what_is_no_size_is_refused(typed):
    with pytest.raises(RecipeError, match=r"test: backend.memory_limit = .*: must be auto, none, or a size as 12GB"):
        recipe(typed)


def test_what_a_run_may_use(monkeypatch):
    monkeypatch.setattr("mio_local.memory.fitting.available", lambda kind, gpu: {"cpu": 7, "gpu": 100 + gpu}[kind])
    assert [allowed(recipe(limit), "cpu") for limit in ("auto", "none", "0.5")] == [7, 0, 500_000_000]
    second = recipe().model_copy(update={"backend": recipe().backend.model_copy(update={"device": "cuda:1"})})
    assert allowed(second, "gpu") == 101


def test_the_estimate_is_of_the_longest_pairs(folder):
    found = room(folder)
    assert found.lengths == (100, 130)
    assert found.needed == estimate(read_shape(folder), recipe(), 100, "mlx", "cpu", 130).total


def test_the_estimate_is_of_the_most_answers(folder):
    group = replace(LONG, others=([4] * 20, [5] * 35))
    found = replace(room(folder), train=[SHORT, group])
    assert (found.lengths, found.answers) == ((100, 185), 4)
    assert found.needed == estimate(read_shape(folder), recipe(), 100, "mlx", "cpu", 185, 4).total
    assert found.needed > room(folder).needed
    full = Full()
    replace(found, kind="gpu").rehearse(full, 0, shared=True)
    assert sorted(full.batches[0].tokens.tolist()) == [0, 0, 3, 4, 20, 30, 35, 40]


def test_a_run_that_needs_more_than_is_free_is_refused_with_the_smallest_change(folder):
    one = room(folder, batch_size=1, accumulate=4).needed
    # rows of 144 tokens: on a CPU, MLX works on two to four pairs at a time
    with pytest.raises(RecipeError) as caught:
        room(folder, batch_size=4, free=one).check()
    text = str(caught.value)
    assert "the run needs about" in text
    assert "are free: the smallest change that fits is batch 4 -> " in text
    assert text.endswith("--memory-limit none tries it all the same")
    room(folder, batch_size=1, free=one).check()
    room(folder, "none", batch_size=4).check()
    room(folder, kind="gpu", batch_size=4, free=one).check()  # there running out of memory is an error that can be told


def test_a_limit_bounds_the_estimate_with_its_tolerance(folder):
    needed = room(folder).needed
    room(folder, f"{needed / 1.2e9}").check()
    with pytest.raises(RecipeError, match=r"--memory-limit allows .* GB: "):
        room(folder, f"{needed / 1.3e9}").check()


def test_a_model_of_unknown_shape_is_let_through(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "novel"}))
    found = room(tmp_path, "0.001")
    assert found.needed == 0
    found.check()
    assert "take a smaller model" in found.after(MemoryError("out of memory"))


class Full:
    """A model whose step runs out of memory, or peaks at so many bytes."""

    def __init__(self, error: Exception | None = None, peak: int = 0) -> None:
        self.error, self.peak, self.batches = error, peak, []

    def rehearse(self, batch, objective):
        self.batches.append(batch)
        if self.error:
            raise self.error

    def logps(self, batch, *, reference):
        self.batches.append(batch)

    def memory(self):
        return SimpleNamespace(active=0, peak=self.peak)

    def release(self):
        pass


OUT_OF_MEMORY = [
    RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of 8.00 GiB"),
    RuntimeError("[metal::malloc] Attempting to allocate 34359738368 bytes which is greater than the maximum"),
    RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
    RuntimeError("[METAL] Command buffer execution failed: Insufficient Memory (00000008:kIOGPUCommandBuffer"),
    RuntimeError("[enforce fail at alloc_cpu.cpp:114] DefaultCPUAllocator: can't allocate memory: you tried to"),
    MemoryError(),
    SystemError("error return without exception set"),  # both as seen on CPython 3.11, imports under RLIMIT_AS
    ImportError("_pydantic_core.cpython-311-x86_64-linux-gnu.so: failed to map segment from shared object"),
    SystemError("<function _find_and_load at 0x7f7003f4fce0> returned NULL without setting an exception"),
]


@pytest.mark.parametrize("error", OUT_OF_MEMORY, ids=lambda error: str(error)[:20])
def test_memory_that_runs_out_is_one_line_with_the_smallest_change(error, folder):
    assert is_out_of_memory(error)
    full = room(folder, kind="gpu", backend="cuda", free=10**12, batch_size=8)
    with pytest.raises(RecipeError, match="memory ran out before the first step: ") as caught, full.guarded():
        full.rehearse(Full(error), 0, shared=True)
    assert "the smallest change that fits is batch 8 -> 4 with accumulate x2" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_another_error_stays_itself(folder):
    gpu = room(folder, kind="gpu")
    with pytest.raises(RuntimeError, match=r"^shapes$"), gpu.guarded():
        gpu.rehearse(Full(RuntimeError("shapes")), 0, shared=True)
    with pytest.raises(RecipeError, match=r"^the limit$"), gpu.guarded():
        raise RecipeError("the limit")


def test_the_longest_pairs_are_tried(folder):
    full = Full()
    room(folder, kind="gpu", batch_size=2).rehearse(full, 0, shared=True)
    assert [sorted(batch.tokens.tolist()) for batch in full.batches] == [[3, 4, 30, 40]]
    room(folder, kind="gpu", held_out=[SHORT] * 9, batch_size=3).rehearse(full, 0, shared=True)
    assert [batch.size for batch in full.batches[1:]] == [3, 3]
    del full.batches[1:]
    room(folder, kind="cpu").rehearse(full, 0, shared=True)  # where the kernel would end the process, nothing is told
    assert len(full.batches) == 1


def test_a_step_above_the_limit_is_told(folder):
    limited = room(folder, "0.2", batch_size=2)
    limited.rehearse(Full(peak=200_000_000), 0, shared=True)
    with pytest.raises(RecipeError, match=r"took 0.25 GB, and --memory-limit allows 0.20 GB: "):
        limited.rehearse(Full(peak=250_000_000), 0, shared=True)


@both
@pytest.mark.parametrize("checkpoint", [False, True])
def test_a_rehearsal_leaves_no_trace(backend, checkpoint, folder, tmp_path):
    """The same model without one: the same state on disk, to the bit, and after it the same gradient with dropout."""
    batch, found = batch_of(examples()), []
    for times in (0, 1):
        lora = LORA.model_copy(update={"dropout": 0.5})
        model = start(backend, folder, lora=lora, checkpoint=checkpoint)
        for _ in range(times):
            model.rehearse(batch, MIO)
        reference = model.logps(batch, reference=True)
        logps = model.accumulate(batch, reference, MIO, 1.0).logps
        found.append((logps, gradients(model)))
        model.apply(1e-2)
        place = Path(tmp_path / str(times))
        place.mkdir()
        model.save_state(place)
    assert np.array_equal(found[0][0], found[1][0])
    assert equal(found[0][1], found[1][1])
    assert (tmp_path / "0" / "state.safetensors").read_bytes() == (tmp_path / "1" / "state.safetensors").read_bytes()
