"""What a process runs with: the preloaded BLAS, and room for a library's threads; in processes that really have it."""

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from mio_local.backends import installed
from mio_local.process import cores, fast_library
from tests.helpers.backends import need_library
from tests.helpers.some import fast

SHARES = """
import ctypes
from mio_local.process import share_threads
threads = ctypes.CDLL(None).openblas_get_num_threads
seen = [threads()]
for callers in (2, 1, 3, 1):
    share_threads(callers)
    seen.append(threads())
print(*seen)
"""

LANES = """
import ctypes
from mio_cuda.cpu_microbatches import Lanes
from mio_local.data.collate import collate
from mio_local.data.examples import Example
threads = ctypes.CDLL(None).openblas_get_num_threads
batch = collate([Example([1], [2], [3], False, False, False, "")] * 2, [0, 1], 0, shared=True)
lanes = Lanes(single=False)
print(lanes.count, [seen for _, seen in lanes.each([batch, batch], lambda _: threads())], threads())
"""


def ran(code: str, **environment: str) -> str:
    words = [sys.executable, "-c", code]
    done = subprocess.run(words, capture_output=True, text=True, env={**os.environ, **environment})
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.mark.skipif("openblas" not in (fast_library() or ""), reason="no OpenBLAS to preload here")
def test_several_callers_have_one_thread_each_and_a_single_one_all() -> None:
    assert ran(SHARES, LD_PRELOAD=fast_library() or "", OPENBLAS_NUM_THREADS="2") == "2 1 2 1 2"


@pytest.mark.slow
@pytest.mark.skipif("openblas" not in (fast_library() or ""), reason="no OpenBLAS to preload here")
@pytest.mark.skipif(cores() < 2, reason="one core, so one lane")
def test_each_lane_of_pytorch_has_one_thread_of_a_library_that_the_user_preloaded() -> None:
    environment = {"LD_PRELOAD": fast_library() or "", "OPENBLAS_NUM_THREADS": "2", "OMP_NUM_THREADS": "2"}
    assert ran(LANES, **environment) == "2 [1, 1] 2"


def test_without_a_preloaded_library_nothing_happens() -> None:
    assert ran("from mio_local.process import share_threads\nprint(share_threads(2))", LD_PRELOAD="") == "None"


BOUNDED = """
import resource, sys
from pathlib import Path
from mio_local.backends import load_backend
from mio_local.errors import BackendError
from mio_local.recipe import ModelSettings
backend = load_backend(sys.argv[1])
used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + (128 << 20), resource.RLIM_INFINITY))
try:
    backend.load(Path(sys.argv[2]), ModelSettings(name=sys.argv[2]), "cpu", grad_checkpoint=False, seed=0)
except BackendError as error:
    print(error)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux bounds the address space")
@pytest.mark.parametrize("backend", fast(installed(), {"mlx"}.intersection(installed())))
def test_a_bound_on_the_address_space_is_told_before_a_library_meets_it(backend: str, tiny_model: Path) -> None:
    need_library(backend)
    words = [sys.executable, "-c", BOUNDED, backend, str(tiny_model)]
    done = subprocess.run(words, capture_output=True, text=True, timeout=120)
    assert "ulimit -v unlimited" in done.stdout, (done.returncode, done.stderr)
    assert str(tiny_model) in done.stdout


LATER = """
import sys
import torch
from mio_cuda.backend import compiling_later
with {}:
    import peft
    doubled = torch.compile(lambda numbers: 2 * numbers, backend="eager")
    tripled = torch.compile(backend="eager")(lambda numbers: 3 * numbers)
print("torch._inductor.compile_fx" in sys.modules, doubled(torch.ones(1)).item(), tripled(torch.ones(1)).item())
"""


@pytest.mark.slow
@pytest.mark.skipif("cuda" not in installed() or not find_spec("bitsandbytes"), reason="no bitsandbytes here")
def test_importing_peft_imports_no_compiler_and_what_is_compiled_later_is() -> None:
    assert ran(LATER.format("compiling_later()")) == "False 2.0 3.0"
    assert ran(LATER.format("__import__('contextlib').nullcontext()")) == "True 2.0 3.0"  # else this is of no use
