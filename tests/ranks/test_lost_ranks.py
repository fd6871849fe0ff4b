"""A rank that is killed or stopped ends the run in one line, soon, and with a whole checkpoint to go on from."""

import random
import signal
import time

import pytest

from mio_local.backends import installed
from mio_local.ranks.link import SILENT
from mio_local.runs.directory import Run
from tests.helpers.backends import need_library
from tests.helpers.ranks.rank_processes import check_gone, ranks_of, wait_for
from tests.helpers.ranks.ranked_runs import begun, check_same_curve, resumed, tables, trained
from tests.helpers.some import fast

DEATHS = [(backend, rank) for backend in installed() for rank in (0, 1)]


@pytest.mark.parametrize("case", fast(DEATHS, [("mlx", 1)]), ids=lambda case: f"{case[0]}-{case[1]}")
def test_a_rank_that_is_killed(tmp_path, tiny_model, pairs, case):
    backend, rank = case
    need_library(backend)
    recipe = tables(tiny_model, pairs, backend)
    alone = trained(tmp_path, "alone", recipe)
    process = begun(tmp_path, "killed", recipe, "--devices", 2)
    run = Run(tmp_path / "runs" / "killed")
    wait_for(process, run, random.Random(f"{backend}{rank}").randint(4, 12))
    everyone = ranks_of(process)
    everyone[rank].kill()
    said = process.communicate(timeout=60)[1]
    if rank:
        assert process.returncode == 2
        told = [line for line in said.splitlines() if line.startswith("mio-local: ")]
        assert len(told) == 1
        assert "rank 1" in told[0]
        assert "SIGKILL" in told[0]
        assert "mio-local resume killed" in told[0]
    check_gone(everyone)
    resumed(run, *(["--devices", 1] if rank else []))
    check_same_curve(run, alone)


@pytest.mark.slow
@pytest.mark.parametrize("backend", installed())
def test_a_rank_that_hangs_is_told_in_time(tmp_path, tiny_model, pairs, backend):
    need_library(backend)
    process = begun(tmp_path, "stuck", tables(tiny_model, pairs, backend, steps=500), "--devices", 2)
    run = Run(tmp_path / "runs" / "stuck")
    wait_for(process, run, 4)
    ranks_of(process)[1].send_signal(signal.SIGSTOP)
    began = time.monotonic()
    said = process.communicate(timeout=SILENT + 20)[1]
    assert time.monotonic() - began < 30
    assert process.returncode == 2
    assert "rank 1" in said
    assert "no sign of life" in said
    assert run.saved()
