"""The verdict that the trainer writes is the one that its events give to whoever reads them."""

import json
from pathlib import Path
from typing import Any

import pytest

from mio_local.recipe import build
from mio_local.reports import evidence
from mio_local.reports.evidence import BATCHES
from mio_local.reports.verdict import verdict
from mio_local.runs.control import request
from mio_local.runs.history import read
from mio_local.runs.summary import row_of
from mio_local.training import standing
from mio_local.training.loop import train
from mio_local.training.prepare import start
from mio_local.training.reopen import reopen
from mio_local.training.standing import Standing


def tables(model: Path, pairs: Path, **evaluated: Any) -> dict[str, Any]:
    """Twelve steps, every third of which is followed by an evaluation."""
    return {
        "model": {"name": str(model)}, "data": {"source": str(pairs), "eval_fraction": 0.4},
        "lora": {"rank": 4}, "eval": {"every": 3, "sample_tokens": 0} | evaluated, "loss": {"name": "dpo"},
        "train": {"steps": 12, "batch_size": 2, "learning_rate": 3e-2, "save_every": 4}, "backend": {"device": "cpu"},
    }  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("fraction", [0.4, 0.0])
def test_the_status_says_what_the_events_say_after_each_step(
    tiny_model: Path, tiny_pairs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fraction: float
) -> None:
    """With so short a memory that most of the steps are forgotten on the way; stopped on the way, and resumed."""
    for module in (standing, evidence):
        monkeypatch.setattr(module, "BATCHES", 2)
    settings = tables(tiny_model, tiny_pairs, forgetting="shipped")
    settings["data"]["eval_fraction"] = fraction
    job = start(build(settings, "test"), tmp_path, "one")
    kinds, lengths = set[str](), set[int]()
    monkeypatch.setattr(Standing, "write", lambda self, state, write=Standing.write, **more: (
        lengths.add(len(self.history.of("step"))), write(self, state, **more))[1])  # fmt: skip
    for session in range(2):
        for event in train(job):
            if event.type == "step" and event.step == 7 and not session:
                request(job.run.control, "stop")
            if event.type in ("step", "eval", "checkpoint"):
                found = verdict(read(job.run))
                assert found is not None
                assert row_of(job.run).verdict == found.line, event
                kinds.add(found.kind)
        found = verdict(read(job.run))
        assert found is not None
        assert row_of(job.run).verdict == found.line
        assert job.run.read_status()["state"] == ("done" if session else "stopped")
        if not session:
            job = reopen(job.run)
    assert len(kinds) > 1
    assert max(lengths) <= 4 * 2 + 1


def test_of_a_long_run_few_steps_are_kept(tiny_model: Path, tiny_pairs: Path, tmp_path: Path) -> None:
    job = start(build(tables(tiny_model, tiny_pairs), "test"), tmp_path, "one")
    list(train(job))
    step = json.loads(next(line for line in job.run.events.read_text().splitlines() if '"step", "step": 12' in line))
    with job.run.events.open("a", encoding="utf-8") as file:
        file.writelines(json.dumps(step | {"step": number}) + "\n" for number in range(13, 1000))
    before = verdict(read(job.run))
    kept = Standing(job, 12)
    assert len(kept.history.of("step")) <= 2 * BATCHES
    assert before is not None
    assert kept.verdict["verdict"] == before.kept()
