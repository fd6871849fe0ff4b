"""A trainer that ends while its run is looked at."""

import pytest

from mio_local.runs.directory import Run
from tests.helpers import fakes


@pytest.mark.parametrize(("said", "seen"), [("done", "done"), ("failed", "failed"), ("training", "lost")])
def test_an_end_between_two_looks_is_no_loss(tmp_path, monkeypatch, said, seen):
    """It says how it ended, then lets the lock go: who read its status before that must not take it for dead."""
    run = fakes.make_run(tmp_path, "one", state="training")

    def ends(_: Run) -> bool:
        fakes.set_status(run, state=said)
        return False

    monkeypatch.setattr(Run, "is_locked", ends)
    assert run.read_status()["state"] == seen
