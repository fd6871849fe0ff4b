"""The preloaded BLAS, in a process that really has it."""

import os
import subprocess
import sys

import pytest

from mio_local.blas import fast_library

SHARES = """
import ctypes
from mio_local.blas import share_threads
threads = ctypes.CDLL(None).openblas_get_num_threads
seen = [threads()]
for callers in (2, 1, 3, 1):
    share_threads(callers)
    seen.append(threads())
print(*seen)
"""


def ran(code: str, **environment: str) -> str:
    words = [sys.executable, "-c", code]
    done = subprocess.run(words, capture_output=True, text=True, env={**os.environ, **environment})
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.mark.skipif("openblas" not in (fast_library() or ""), reason="no OpenBLAS to preload here")
def test_several_callers_have_one_thread_each_and_a_single_one_all() -> None:
    assert ran(SHARES, LD_PRELOAD=fast_library() or "", OPENBLAS_NUM_THREADS="2") == "2 1 2 1 2"


def test_without_a_preloaded_library_nothing_happens() -> None:
    assert ran("from mio_local.blas import share_threads\nprint(share_threads(2))", LD_PRELOAD="") == "None"
