"""Runs whose passes are cut by tokens: the curve of those cut by pairs, the same again after a stop, and `auto`."""

from pathlib import Path
from typing import Any

import pytest

from mio_local.backends import installed
from mio_local.recipe import Recipe, build, read_toml
from mio_local.runs.control import request
from mio_local.runs.history import read
from mio_local.training import trainable
from mio_local.training.job import Job
from mio_local.training.loop import train
from mio_local.training.prepare import start
from mio_local.training.reopen import reopen
from tests.helpers.backends import need_library

both = pytest.mark.parametrize("backend", installed())


@pytest.fixture
def tables(tiny_model: Path, tiny_pairs: Path) -> dict[str, Any]:
    """Four steps of eight pairs, checkpoints after two of them."""
    return {
        "model": {"name": str(tiny_model)},
        "data": {"source": str(tiny_pairs), "eval_fraction": 0.2},
        "lora": {"rank": 4, "alpha": 8}, "eval": {"every": 2, "sample_tokens": 0},
        "train": {"steps": 4, "batch_size": 8, "learning_rate": 1e-3, "save_every": 2}, "backend": {"device": "cpu"},
    }  # fmt: skip


def recipe(tables: dict[str, Any], backend: str, loss: str = "mio", **keys: Any) -> Recipe:
    need_library(backend)
    own = {"train": {**tables["train"], **keys}, "backend": {"name": backend, "device": "cpu"}, "loss": {"name": loss}}
    return build({**tables, **own}, "test")


def cut(job: Job) -> list[int]:
    """Pairs of each pass that the steps of a run make."""
    found: list[int] = []
    accumulate = job.model.accumulate
    job.model.accumulate = lambda batch, *rest: (found.append(batch.size), accumulate(batch, *rest))[1]
    list(train(job))
    return found


@both
@pytest.mark.parametrize("loss", ["mio", "kto"])
def test_the_curve_does_not_depend_on_how_a_step_is_cut(
    backend: str, loss: str, tables: dict[str, Any], tmp_path: Path
) -> None:
    curves, sizes = [], []
    for number, tokens in enumerate((0, 1, 256, 100_000)):
        job = start(recipe(tables, backend, loss, batch_tokens=tokens), tmp_path, f"run-{number}")
        sizes.append(cut(job))
        past = read(job.run)
        curves.append([past.series(kind, "loss")[1] for kind in ("step", "eval")])
    assert max(sizes[0]) == 8
    assert sizes[3] == sizes[0]  # passes of whole steps
    assert sizes[1] == [1] * sum(sizes[0])
    assert len(sizes[0]) < len(sizes[2]) < len(sizes[1])
    assert sum(sizes[2]) == sum(sizes[0])
    for curve in curves[1:]:
        for found, expected in zip(curve, curves[0], strict=True):
            assert found == pytest.approx(expected, abs=1e-6)


def test_a_run_that_was_stopped_goes_on_with_the_same_passes(tables: dict[str, Any], tmp_path: Path) -> None:
    made = recipe(tables, installed()[0], batch_tokens=256)
    whole, stopped = (start(made, tmp_path, name) for name in ("whole", "stopped"))
    list(train(whole))
    for event in train(stopped):
        if event.type == "step" and event.step == 2:
            request(stopped.run.control, "stop")
    assert stopped.run.last_step() == 2
    with stopped.run.locked():
        again = reopen(stopped.run)
        list(train(again))
    losses = [read(run).series("step", "loss") for run in (whole.run, stopped.run)]
    assert losses[0] == losses[1]


@both
def test_auto_is_found_once_and_kept_in_the_recipe(
    backend: str, tables: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Here it is the whole step, whose longest pair has the most tokens; a run that goes on does not look again."""
    job = start(recipe(tables, backend, batch_tokens="auto"), tmp_path, "run")
    kept = build(read_toml(job.run.recipe), "test").train.batch_tokens
    assert isinstance(kept, int)
    assert kept == job.recipe.train.batch_tokens == job.rehearsal.recipe.train.batch_tokens > 8 * 16
    for event in train(job):
        if event.type == "step" and event.step == 2:
            request(job.run.control, "stop")
    monkeypatch.setattr(trainable, "largest", lambda *_, **__: pytest.fail("looked for it again"))
    with job.run.locked():
        again = reopen(job.run)
        assert again.recipe.train.batch_tokens == kept
        assert cut(again) == [8] * 2
