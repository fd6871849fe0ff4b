"""What the background process does before it trains, and on a full disk; nothing is trained here."""

import errno
import subprocess
import sys

import pytest

from mio_local.detached import worker
from mio_local.runs.directory import Run
from tests.helpers import fakes


@pytest.fixture
def worked(monkeypatch):
    """A function that hands a run to the worker; whether it would have been trained."""

    def work(run):
        names = []
        monkeypatch.setattr(worker, "work", lambda run, *_, **__: names.append(run.name))
        monkeypatch.setattr(worker, "claim", lambda: None)
        monkeypatch.setattr(sys, "argv", ["worker", str(run.path)])
        worker.main()
        return names == [run.name]

    return work


@pytest.mark.parametrize("state", ["stopped", "failed", "queued", "training"])
def test_a_run_that_waits_for_nobody_is_trained_whatever_its_state(folder, worked, state):
    assert worked(fakes.make_run(folder, "first", state))


@pytest.mark.parametrize("ahead", ["done", "stopped", "failed", "training", "gone"])
def test_a_run_begins_once_the_one_ahead_is_over_whatever_became_of_it(folder, worked, ahead):
    """But a stage after nothing but one that is done; `training` with no process behind it is lost."""
    if ahead != "gone":
        fakes.make_run(folder, "first", ahead)
    other = fakes.make_run(folder, "other", "queued", after="first", since=1.0)
    stage = fakes.make_run(folder, "stage", "queued", after="first", since=2.0, needs=True)
    assert worked(other)
    assert worked(stage) == (ahead == "done")
    status = stage.read_status()
    if ahead != "done":
        told = "lost" if ahead == "training" else ahead
        assert (status["state"], status["reason"]) == ("queued", f"first is {told}, so this was not begun")


def test_a_run_that_another_trainer_has_is_left_to_it(folder, worked, capsys):
    run = fakes.make_run(folder, "first", "training")
    with fakes.alive(run):
        assert not worked(run)
    assert "already training" in capsys.readouterr().out


def test_a_run_that_was_deleted_is_passed_over(folder, worked, capsys):
    assert not worked(Run(folder / "gone"))
    assert "No such file" in capsys.readouterr().out


def test_a_process_that_waits_has_loaded_no_library():
    code = "import sys; from mio_local.detached import worker; print(sorted(sys.modules))"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert not [name for name in ("numpy", "pydantic", "textual", "rich", "mlx", "torch") if f"'{name}'" in loaded]


def test_a_full_disk_leaves_its_reason_in_the_log(folder, monkeypatch, capsys):
    def full(run, **values):
        raise OSError(errno.ENOSPC, "No space left on device")

    run = fakes.make_run(folder, "one", "queued")
    monkeypatch.setattr(Run, "update_status", full)
    worker.work(run)
    assert "failed: the disk is full (" in capsys.readouterr().out
