"""Two launches of a run of several ranks by one name: one of them trains, and the other is refused on all its ranks."""

import signal
import time

import pytest

from mio_local.runs.directory import Run
from tests.helpers.backends import need_library
from tests.helpers.ranks.rank_processes import check_gone, session_of, steps_of, wait_for
from tests.helpers.ranks.ranked_runs import begun, command, opened, quickest, tables

ENDLESS = 100_000


def refused(process, words):
    """That it was, in one line, and nothing of it lives on."""
    said = process.communicate(timeout=120)
    assert process.returncode == 2, said
    (line,) = said[1].splitlines()
    assert line.startswith("mio-local: ")
    assert any(word in line for word in words), line
    check_gone(session_of(process))


def goes_on_and_ends(process, run):
    wait_for(process, run, steps_of(run) + 2)
    everyone = session_of(process)
    assert len(everyone) == 2
    process.send_signal(signal.SIGINT)
    said = process.communicate(timeout=120)
    assert process.returncode == 0, said
    check_gone(everyone)


@pytest.mark.slow
@pytest.mark.parametrize("backend", quickest())
def test_a_name_that_trains_already(tmp_path, tiny_model, pairs, backend):
    need_library(backend)
    recipe = tables(tiny_model, pairs, backend, steps=ENDLESS)
    first, run = begun(tmp_path, "one", recipe, "--devices", 2), Run(tmp_path / "runs" / "one")
    wait_for(first, run, 1)
    refused(begun(tmp_path, "one", recipe, "--devices", 2), ["already training"])
    resume = command("resume", "one", "--runs", tmp_path / "runs", "--devices", 2)
    refused(opened(resume, tmp_path), ["already training"])
    goes_on_and_ends(first, run)


@pytest.mark.slow
@pytest.mark.parametrize("backend", quickest())
def test_two_at_the_same_moment(tmp_path, tiny_model, pairs, backend):
    """Both have their ranks before either has the name."""
    need_library(backend)
    recipe = tables(tiny_model, pairs, backend, steps=ENDLESS)
    both, run = [begun(tmp_path, "one", recipe, "--devices", 2) for _ in range(2)], Run(tmp_path / "runs" / "one")
    while all(process.poll() is None for process in both):
        time.sleep(0.05)
    late = next(process for process in both if process.poll() is not None)
    refused(late, ["already training", "taken"])
    (other,) = (process for process in both if process is not late)
    goes_on_and_ends(other, run)
