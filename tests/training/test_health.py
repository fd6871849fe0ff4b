"""What a run says of itself, and how it ends when it goes wrong."""

import math
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mio_local import cli
from mio_local.adapters.adapter import read_adapter
from mio_local.backends import installed
from mio_local.errors import RunError, one_line
from mio_local.recipe import build
from mio_local.runs.directory import Run
from mio_local.training import health
from mio_local.training.loop import train
from mio_local.training.prepare import start
from mio_local.training.reopen import reopen
from tests.helpers.backends import need_library
from tests.helpers.fakes import read_events
from tests.helpers.some import fast


@pytest.fixture(params=fast(installed(), ["mlx"]))
def backend(request: pytest.FixtureRequest) -> str:
    """Each registered backend."""
    need_library(request.param)
    return str(request.param)


def tables(model: Path, pairs: Path, backend: str, **train_settings: Any) -> dict[str, Any]:
    """A short run with a held-out evaluation and a checkpoint after every step."""
    return {
        "model": {"name": str(model)},
        "data": {"source": str(pairs), "eval_fraction": 0.25},
        "lora": {"rank": 4, "alpha": 8},
        "train": {"steps": 8, "batch_size": 4, "learning_rate": 1e-3, "save_every": 1, "warmup": 0, **train_settings},
        "eval": {"every": 1, "sample_tokens": 4},
        "backend": {"name": backend, "device": "cpu"},
    }


def notes(run: Run) -> list[str]:
    """The codes of a run's notes."""
    return [event["code"] for event in read_events(run.events) if event["type"] == "note"]


@pytest.mark.parametrize(("name", "first"), [("mio", math.log(4)), ("dil-lsif", -0.5), ("kto", 0.5), ("copg", None)])
def test_the_first_loss_is_known_or_depends_on_the_data(name: str, first: float | None) -> None:
    """A hundredth off is rounding, whichever sign the loss has; a twentieth off is told, and ends the run."""
    loss = build({"loss": {"name": name}}, "test").loss
    value = 7.0 if first is None else first
    assert health.start_note(1, {"loss": value * 1.005}, loss) is None
    told = health.start_note(1, {"loss": value * 1.05}, loss)
    assert (told is None) == (first is None)
    assert told is None or told.values["level"] == "error"


def test_a_run_that_blows_up_fails_and_keeps_the_last_good_adapter(
    tmp_path: Path, tiny_model: Path, tiny_pairs: Path, backend: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """A step of 1e30 leaves finite weights that no forward pass survives; no checkpoint of them may be kept."""
    recipe = build(tables(tiny_model, tiny_pairs, backend), "test")
    job = start(recipe, tmp_path, "boom")
    events = train(job)
    for event in events:
        if event.type == "checkpoint" and event.step == 3:
            job.model.apply = lambda rate, apply=job.model.apply: apply(1e30)  # type: ignore[method-assign]
    assert job.run.read_status()["state"] == "failed"
    assert "nonfinite" in notes(job.run)
    assert not re.search(r"NaN|Infinity", job.run.status.read_text(encoding="utf-8"))  # no JSON
    assert [file.name for file in sorted(job.run.checkpoints.glob("step-*"))] == ["step-000002", "step-000003"]
    kept = read_adapter(job.run.adapter).weights
    assert max(float(np.abs(value).max()) for value in kept.values()) < 1
    assert cli.run(["show", str(job.run.path)]) == 0  # a figure that is no number is a dash
    assert "—" in capsys.readouterr().out
    assert cli.run(["plot", str(job.run.path)]) == 0


def test_memory_that_runs_out_in_a_step_leaves_a_run_to_resume(
    tmp_path: Path, tiny_model: Path, tiny_pairs: Path, backend: str
) -> None:
    job = start(build(tables(tiny_model, tiny_pairs, backend), "test"), tmp_path, "full")
    events = train(job)
    next(event for event in events if event.type == "checkpoint" and event.step == 3)
    job.model.apply = lambda rate: np.empty(1 << 59)  # type: ignore[method-assign,return-value]
    with pytest.raises(RunError, match=r"run full: memory ran out after step 3; .*mio-local resume .*full") as caught:
        list(events)
    advice = r"or start anew: (the smallest change that fits is|no single change) .*\(Unable to allocate"
    assert re.search(advice, str(caught.value))
    status = job.run.read_status()
    assert (status["state"], status["step"], status["reason"]) == ("failed", 3, one_line(caught.value))
    again = reopen(job.run)
    assert again.progress.step == 3
    list(train(again))
    assert again.run.read_status()["state"] == "done"


def test_an_early_stop_that_is_killed_before_it_says_so_stays_stopped(
    tmp_path: Path, tiny_model: Path, tiny_pairs: Path, backend: str
) -> None:
    """Killed between its last checkpoint and its last word, the run must not train on when it is resumed."""
    settings = tables(tiny_model, tiny_pairs, backend, learning_rate=1e-12)
    settings["eval"] |= {"patience": 2, "metric": "rewards/accuracies"}
    straight = start(build(settings, "test"), tmp_path, "straight")
    list(train(straight))
    assert straight.run.read_status()["reason"] == "early stop"
    assert "early" in notes(straight.run)
    job = start(build(settings, "test"), tmp_path, "killed")
    last = straight.progress.step
    events = train(job)
    for event in events:
        if event.type == "finished":
            break
        if event.type == "checkpoint" and event.step == last:
            next(events)
            break
    events.close()
    job.run.write_status(state="training", step=last)
    job = reopen(job.run)
    list(train(job))
    assert job.progress.step == last
    assert job.run.read_status()["reason"] == "early stop"


def test_policy_and_reference_that_differ_at_the_start_are_noticed(
    tmp_path: Path, tiny_model: Path, tiny_pairs: Path, backend: str
) -> None:
    """The first loss has a known value; a reference shifted by 20 nats gives another."""
    recipe = {**tables(tiny_model, tiny_pairs, backend, steps=1), "speed": {"reference_cache": False}}
    job = start(build(recipe, "test"), tmp_path, "shifted")
    job.model.logps = lambda batch, reference, true=job.model.logps: (  # type: ignore[method-assign]
        true(batch, reference=reference) + np.float32(-20.0 if reference else 0.0)
    )
    list(train(job))
    assert "start" in notes(job.run)


def test_an_adapter_that_does_not_move_is_noticed(
    tmp_path: Path, tiny_model: Path, tiny_pairs: Path, backend: str
) -> None:
    """Peers have trained for a thousand iterations on a gradient of zero; one step is enough to see it."""
    job = start(build(tables(tiny_model, tiny_pairs, backend, steps=1), "test"), tmp_path, "still")
    job.model.apply = lambda rate: 0.0  # type: ignore[method-assign]
    list(train(job))
    assert "still" in notes(job.run)


def test_truncated_pairs_are_counted_and_told(
    tmp_path: Path, tiny_model: Path, tiny_pairs: Path, backend: str
) -> None:
    """A limit that cuts every answer is a warning at the start, with the share."""
    settings = tables(tiny_model, tiny_pairs, backend, steps=1)
    whole = start(build(settings, "test"), tmp_path, "whole")
    settings["data"] |= {"max_tokens": max(len(example.prompt) for example in whole.examples) + 2}
    job = start(build(settings, "test"), tmp_path, "cut")
    list(train(job))
    cut = [event for event in read_events(job.run.events) if event.get("code") == "truncated"]
    assert cut
    assert cut[0]["level"] == "warning"


@pytest.mark.parametrize(("chosen", "error", "told"), [
    (-0.27, 0.18, False), (-0.27, 0.13, True), (-1.2, 0.3, True), (-0.1, math.nan, True), (-0.1, None, True),
    (0.0, math.nan, False), (0.3, 0.1, False), (math.nan, 0.1, False),
])  # fmt: skip
def test_a_dip_that_chance_explains_is_no_sinking(chosen: float, error: float | None, told: bool) -> None:
    """Within 1.96 standard errors of nothing; a single held-out pair has none."""
    metrics = {"delta/chosen": chosen} | ({} if error is None else {"delta/chosen_stderr": error})
    assert health.sinking(metrics) == told


@pytest.mark.slow
def test_chosen_answers_that_sink_are_told_once(tmp_path: Path, tiny_model: Path, tiny_pairs: Path) -> None:
    """DPO at a rate that lets them fall: at the third evaluation at which they had, and never again."""
    recipe = tables(tiny_model, tiny_pairs, installed()[0], learning_rate=3e-2, steps=16)
    recipe["loss"] = {"name": "dpo", "beta": 0.1}
    job = start(build(recipe, "test"), tmp_path, "sinks")
    list(train(job))
    events = read_events(job.run.events)
    low = [event for event in events if event["type"] == "note" and event["code"] == "below"]
    sunk, row = [], 0
    for event in (event for event in events if event["type"] == "eval"):
        row = row + 1 if health.sinking(event) else 0
        sunk += [event["step"]] if row == 3 else []
    assert [event["step"] for event in low] == sunk
    assert sunk
    assert "less likely than under the reference for 3 evaluations" in low[0]["text"]
    assert "--loss mio" in low[0]["text"]


@pytest.mark.parametrize("pairs", [1, 2])
def test_a_run_that_nothing_judges_says_so_before_its_first_step(
    tmp_path: Path, tiny_model: Path, tiny_pairs: Path, pairs: int
) -> None:
    """All pairs of one prompt are trained on, or held out: of a single pair nothing can be."""
    file = tmp_path / "few.jsonl"
    file.write_text("".join(tiny_pairs.read_text().splitlines(keepends=True)[:pairs]))
    recipe = tables(tiny_model, file, installed()[0], steps=1)
    job = start(build(recipe, "test"), tmp_path, "few")
    list(train(job))
    assert notes(job.run).count("held_out") == (pairs == 1)


@pytest.mark.parametrize(("name", "device", "bits", "told"), [
    ("cuda", "gpu", 8, True), ("cuda", "cuda:1", 8, True), ("cuda", "cpu", 8, False), ("cuda", "gpu", 4, False),
    ("mlx", "gpu", 8, False),
])  # fmt: skip
def test_eight_bits_are_said_to_be_slow_where_they_are(name: str, device: str, bits: int, told: bool) -> None:
    recipe = build({"model": {"quantize": bits}, "backend": {"name": name, "device": device}}, "test")
    assert [bool(re.search("--quantize 4", note.values["text"])) for note in health.base_notes(recipe)] == [True] * told
