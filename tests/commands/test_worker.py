"""What the background process does with its queue, and on a full disk; nothing is trained here."""

import errno
import shutil
import sys

import pytest

from mio_local import worker
from mio_local.runs.directory import Run
from tests.helpers import fakes


@pytest.fixture
def worked(monkeypatch):
    """A function that hands runs to the worker; the names of those that it would have trained."""

    def work(*queue):
        names = []
        monkeypatch.setattr(worker, "work", lambda run, *_, **__: names.append(run.name) or True)
        monkeypatch.setattr(worker, "claim", lambda: None)
        monkeypatch.setattr(sys, "argv", ["worker", *(str(run.path) for run in queue)])
        worker.main()
        return names

    return work


@pytest.mark.parametrize("state", ["stopped", "failed", "done", "training"])
def test_a_run_that_does_not_wait_any_more_is_passed_over(folder, worked, state):
    first, other, last = (fakes.make_run(folder, name, "queued") for name in ("first", "other", "last"))
    fakes.set_status(other, state=state)
    assert worked(first, other, last) == ["first", "last"]
    assert other.read_status()["state"] == ("lost" if state == "training" else state)


def test_a_queued_run_that_was_deleted_is_passed_over(folder, worked, capsys):
    first, gone, last = (fakes.make_run(folder, name, "queued") for name in ("first", "gone", "last"))
    shutil.rmtree(gone.path)
    assert worked(first, gone, last) == ["first", "last"]
    assert not gone.path.exists()
    assert "Traceback" not in capsys.readouterr().err


def test_a_run_that_another_trainer_has_ends_the_queue(folder, worked):
    first, other, last = (fakes.make_run(folder, name, "queued") for name in ("first", "other", "last"))
    with fakes.alive(other):
        assert worked(first, other, last) == ["first"]


def test_the_first_is_trained_whatever_its_state(folder, worked):
    assert worked(fakes.make_run(folder, "first", "stopped")) == ["first"]


def test_a_full_disk_leaves_its_reason_in_the_log(folder, monkeypatch, capsys):
    def full(run, **values):
        raise OSError(errno.ENOSPC, "No space left on device")

    run = fakes.make_run(folder, "one", "queued")
    monkeypatch.setattr(Run, "update_status", full)
    assert worker.work(run) is False
    assert "failed: the disk is full (" in capsys.readouterr().out
