"""Ctrl-C of a run of several ranks: the step is finished, a checkpoint saved, and no process left."""

import os
import signal

import pytest

from mio_local.runs.directory import Run
from tests.helpers.backends import need_library
from tests.helpers.fakes import read_events
from tests.helpers.ranks.rank_processes import check_gone, session_of, wait_for
from tests.helpers.ranks.ranked_runs import begun, quickest, resumed, tables, trained
from tests.training.test_resume import files


@pytest.mark.slow
@pytest.mark.parametrize("backend", quickest())
def test_an_early_end(tmp_path, tiny_model, pairs, backend):
    """A terminal gives the signal to all ranks at once."""
    need_library(backend)
    recipe = tables(tiny_model, pairs, backend)
    process, run = begun(tmp_path, "ended", recipe, "--devices", 2), Run(tmp_path / "runs" / "ended")
    wait_for(process, run, 4)
    everyone = session_of(process)
    assert len(everyone) == 2
    os.killpg(process.pid, signal.SIGINT)
    said = process.communicate(timeout=120)
    assert process.returncode == 0, said
    assert not said[1]
    check_gone(everyone)
    end = read_events(run.events)[-1]
    assert (end["state"], run.last_step()) == ("stopped", end["step"])
    assert 4 <= end["step"] < 20
    resumed(run)
    straight = trained(tmp_path, "straight", recipe, "--devices", 2)
    assert files(run.adapter) == files(straight.adapter)
