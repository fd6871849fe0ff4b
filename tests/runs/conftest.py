"""Runs that real trainers are given."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from mio_local.recipe import build
from mio_local.runs import launch as launching
from mio_local.runs.directory import Run, list_runs
from mio_local.runs.launch import lay_out, reap
from tests.runs.background import killed, tables, until


@pytest.fixture
def make(
    runs_home: Path, tiny_model: Path, tiny_pairs: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[..., Run]]:
    """Lays out a run that nobody trains yet. No trainer outlives the test."""
    for key in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):  # threads that wait for each other take most of the time
        monkeypatch.setenv(key, "1")

    def lay(name: str, **settings: Any) -> Run:
        return lay_out(build(tables(tiny_model, tiny_pairs, **settings), "test"), runs_home, name)

    yield lay
    for run in list_runs(runs_home):
        until(lambda run=run: not run.is_locked() or killed(run))
    until(lambda: reap() or not launching._started)
