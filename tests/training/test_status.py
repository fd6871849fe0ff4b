"""What status.json and the acknowledgements say while a run trains, pauses and is taken up again."""

import json
import os
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from mio_local import cli
from mio_local.commands import train as command
from mio_local.errors import RunError
from mio_local.progress import Report
from mio_local.recipe import build
from mio_local.runs.control import request
from mio_local.runs.directory import Run
from mio_local.runs.summary import row_of
from mio_local.training import loop, standing
from mio_local.training.loop import train
from mio_local.training.prepare import start
from mio_local.training.reopen import reopen


@pytest.fixture
def tables(tiny_model: Path, tiny_pairs: Path) -> dict[str, Any]:
    """Four steps, with an evaluation after two of them."""
    return {
        "model": {"name": str(tiny_model)},
        "data": {"source": str(tiny_pairs), "eval_fraction": 0.2}, "eval": {"every": 2, "sample_tokens": 0},
        "train": {"steps": 4, "batch_size": 2, "save_every": 2}, "backend": {"name": "auto", "device": "cpu"},
    }  # fmt: skip


def test_scoring_is_not_said_to_go_on_when_it_is_over(
    tables: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(standing, "STATUS_GAP", 0)
    job = start(build(tables, "test"), tmp_path, "run")
    during, after = [], []
    for event in train(job):
        if event.type == "progress":
            during.append(job.run.read_status().get("doing"))
        if event.type == "eval":
            after.append(job.run.read_status().get("doing"))
    assert "scoring held-out pairs" in during
    assert after == [None] * 3


def test_a_run_that_ends_by_itself_is_not_said_to_be_stopping(
    tables: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It evaluates and saves after its last step; one that is asked to stop does the same."""
    states: list[str] = []
    write = standing.Standing.write
    monkeypatch.setattr(
        standing.Standing, "write", lambda self, state, **more: (states.append(state), write(self, state, **more))[1]
    )
    list(train(start(build(tables, "test"), tmp_path, "whole")))
    assert states[-1] == "done"
    assert "stopping" not in states
    job = start(build(tables, "test"), tmp_path, "part")
    for event in train(job):
        if event.type == "step" and event.step == 1:
            request(job.run.control, "stop")
    assert states[-2:] == ["stopping", "stopped"]


def test_a_list_finds_the_settings_in_the_status(tables: dict[str, Any], tmp_path: Path) -> None:
    job = start(build({**tables, "loss": {"name": "dpo", "beta": 0.2}, "lora": {"rank": 4}}, "test"), tmp_path, "run")
    events = train(job)
    while job.run.read_status().get("state") != "training":
        next(events)
    job.run.recipe.write_text("")
    row = row_of(job.run)
    assert (row.objective, row.rate, row.beta, row.rank) == ("dpo", 1e-5, 0.2, 4)
    assert row.loss == pytest.approx(0.6931, abs=1e-4)  # ln 2 at the start
    assert row.accuracy is None
    events.close()


def test_a_run_that_goes_on_says_so_before_its_next_step(
    tables: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = start(build(tables, "test"), tmp_path, "run")
    slept = []

    def sleep(seconds: float) -> None:
        slept.append(job.run.read_status()["state"])
        request(job.run.control, "resume")

    own = SimpleNamespace(**{**vars(time), "sleep": sleep})  # other threads sleep by the module
    monkeypatch.setattr(loop, "time", own)
    stepping = loop.take_step
    states = []
    monkeypatch.setattr(
        loop, "take_step", lambda *given: states.append(job.run.read_status()["state"]) or stepping(*given)
    )
    for event in train(job):
        if event.type == "step" and event.step == 1:
            request(job.run.control, "pause")
    assert set(slept) == {"paused"}
    assert states == ["training"] * 4


def test_a_sample_that_nothing_answers_is_not_agreed_to(tables: dict[str, Any], tmp_path: Path) -> None:
    job = start(build(tables, "test"), tmp_path, "run")
    answers = []
    for event in train(job):
        if event.type == "step" and event.step == 1:
            request(job.run.control, "sample")
        if event.type == "control":
            answers.append(event.values["result"])
    assert answers == ["eval.sample_tokens is 0"]


def test_while_a_run_is_prepared_again_its_process_is_the_one_that_is_named(
    tables: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A force stop would otherwise reach whichever process has the dead trainer's number now."""
    run = start(build(tables, "test"), tmp_path, "run").run
    run.write_status(state="training", step=2, pid=4711, metrics={"loss": 1.0})
    seen = []

    def fail(run: Run, report: Report, *_: object, **__: object) -> None:
        report("loading the backend", 0, 0)
        seen.append(json.loads(run.status.read_text(encoding="utf-8")))
        raise RunError("the data changed")

    monkeypatch.setattr(command, "reopen", fail)
    assert run.read_status()["state"] == "lost"
    with pytest.raises(RunError, match="the data changed"):
        cli.run(["resume", "run", "--runs", str(tmp_path)])
    assert (seen[0]["state"], seen[0]["pid"]) == ("starting", os.getpid())
    assert (run.read_status()["state"], run.read_status()["metrics"]) == ("lost", {"loss": 1.0})


def test_a_run_that_goes_on_shows_its_held_out_figures_before_the_next_evaluation(
    tables: dict[str, Any], tmp_path: Path
) -> None:
    job = start(build(tables, "test"), tmp_path, "run")
    events = train(job)
    for event in events:
        if event.type == "checkpoint":
            break
    events.close()
    known = job.run.read_status()["held_out"]
    assert known["delta/chosen"] != 0
    again = standing.Standing(reopen(job.run), 4)
    again.write("training")
    assert job.run.read_status()["held_out"] == known
