"""The preloaded BLAS, in a process that really has it."""

import os
import subprocess
import sys

import pytest

from mio_local.process import cores, fast_library

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
