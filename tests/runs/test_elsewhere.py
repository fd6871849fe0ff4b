"""A run on a shared disk that another machine trains, of whose lock none is known here."""

import socket
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from mio_local import cli
from mio_local.errors import RunError
from mio_local.runs import trash
from mio_local.runs.directory import RECENT, Run
from mio_local.runs.naming import rename
from mio_local.runs.queue import busy
from mio_local.runs.summary import row_of
from tests.helpers import fakes


@pytest.fixture
def away(folder: Path) -> Run:
    run = fakes.make_run(folder, "away", "training", steps=50)
    fakes.set_status(run, host="studio.local", time=time.time())
    return run


def test_it_is_not_lost_while_it_is_written_to(away: Run) -> None:
    row = row_of(away)
    assert (row.state, row.note, row.live) == ("training", "on studio.local", True)
    assert busy(away.path.parent) == []  # of this machine
    fakes.set_status(away, time=time.time() - RECENT - 1)
    assert row_of(away).state == "lost"
    fakes.set_status(away, time=time.time(), host=socket.gethostname())
    assert row_of(away).state == "lost"


@pytest.mark.parametrize(
    "odd", [{"host": None}, {"host": ["x"]}, {"host": ""}, {"time": "x"}, {"time": None}, {"time": 10**400}]
)
def test_a_status_that_makes_no_sense_tells_of_no_machine(away: Run, odd: dict[str, object]) -> None:
    fakes.set_status(away, **odd)
    assert row_of(away).state == "lost"


def test_it_is_left_to_that_machine(away: Run, runs_home: Path, mistake: Callable[..., str]) -> None:
    """Unless it is forced: then only what its files lack stands against it."""
    for words in (["resume", "away"], ["resume", "away", "--detach"]):
        said = mistake(*words)
        assert "run away trains on studio.local, which wrote to it a moment ago" in said
        assert "mio-local resume away --force" in said
    assert "run.json: damaged: it lacks data_digest" in mistake("resume", "away", "--force")
    for change in (lambda: trash.delete(away), lambda: rename(away, "other")):
        with pytest.raises(RunError, match=r"run away is training on studio\.local, so it cannot be"):
            change()


def test_the_commands_name_the_machine(away: Run, capsys: pytest.CaptureFixture[str]) -> None:
    for command in (["runs"], ["show", "away"]):
        assert cli.run([*command, "--runs", str(away.path.parent)]) == 0
        assert "on studio.local" in capsys.readouterr().out
