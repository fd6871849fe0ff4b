"""A run whose ranks torchrun or mlx.launch starts, beside one that starts them itself."""

import signal
import sys
import time
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from mio_local.runs.directory import Run
from tests.helpers.backends import need_library
from tests.helpers.ranks.rank_processes import check_gone, steps_of, wait_for
from tests.helpers.ranks.ranked_runs import begun, check_same_curve, tables, trained


def program(name: str) -> str:
    """A program beside this Python."""
    return str(Path(sys.executable).parent / name)


TORCHRUN = (program("torchrun"), "--nproc-per-node", "2")
MLX = (program("mlx.launch"), "-n", "2", "--", sys.executable)
both = pytest.mark.parametrize(("backend", "launcher"), [("cuda", TORCHRUN), ("mlx", MLX)], ids=["cuda", "mlx"])


@pytest.mark.slow
@both
def test_a_launcher_starts_the_ranks(tmp_path, tiny_model, pairs, backend, launcher):
    need_library(backend)
    recipe = tables(tiny_model, pairs, backend)
    launched = trained(tmp_path, "launched", recipe, launcher=launcher)
    assert launched.read_info()["facts"]["device"] == "2 x CPU"
    check_same_curve(launched, trained(tmp_path, "begun", recipe, "--devices", 2))


@pytest.mark.slow
@both
def test_a_name_that_trains_already_is_refused_on_all_ranks(tmp_path, tiny_model, pairs, backend, launcher):
    need_library(backend)
    recipe = tables(tiny_model, pairs, backend, steps=100_000)
    first, run = begun(tmp_path, "one", recipe), Run(tmp_path / "runs" / "one")
    wait_for(first, run, 1)
    late = begun(tmp_path, "one", recipe, launcher=launcher)
    everyone = set[psutil.Process]()  # a launcher's ranks may have sessions of their own
    while late.poll() is None:
        with suppress(psutil.Error):
            everyone.update(psutil.Process(late.pid).children(recursive=True))
        time.sleep(0.05)
    assert late.communicate()[1].count("already training") == 1
    assert len(everyone) >= 2
    check_gone(list(everyone))
    wait_for(first, run, steps_of(run) + 2)
    first.send_signal(signal.SIGINT)
    said = first.communicate(timeout=120)
    assert first.returncode == 0, said
