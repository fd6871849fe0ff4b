"""A tracker that fails, hangs or dies does nothing to the run; a stand-in library is told to do each."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pytest

from mio_local import cli
from mio_local.recipe import build
from mio_local.runs.directory import Run
from mio_local.runs.events import Event
from mio_local.tracking import mirror_process
from mio_local.tracking.mirror_state import MirrorState, Places
from mio_local.training import tracked
from mio_local.training.job import Job
from mio_local.training.loop import train
from mio_local.training.prepare import start
from tests.helpers.fakes import read_events
from tests.helpers.tracking.fake_wandb import install, mirrors, told
from tests.helpers.tracking.tracker_readers import Point, points

CLOCKS = ("time", "perf/")


def prepared(model: Path, pairs: Path, folder: Path, name: str, tracker: str, every: int = 4, **more: Any) -> Job:
    """A run of 12 steps with dropout, so that random state matters."""
    tables = {
        "model": {"name": str(model)}, "data": {"source": str(pairs), "eval_fraction": 0.2},
        "lora": {"rank": 4, "alpha": 8, "dropout": 0.1}, "eval": {"every": every, "sample_tokens": 0},
        "train": {"steps": 12, "batch_size": 2, "learning_rate": 1e-3, "track": tracker} | more,
        "backend": {"device": "cpu"},
    }  # fmt: skip
    return start(build(tables, "test"), folder, name)


@pytest.fixture
def job(tiny_model: Path, tiny_pairs: Path, tmp_path: Path) -> Callable[[str], Job]:
    """A function that prepares the same run, mirrored or not."""
    return lambda tracker: prepared(tiny_model, tiny_pairs, tmp_path / "runs", f"by-{tracker}", tracker)


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """What the stand-in writes; no mirror of this test outlives it."""
    yield install(tmp_path, monkeypatch)
    for process in mirrors(os.getpid()):
        process.kill()
        process.wait()
    for process in mirror_process._left:
        process.wait()
        if process.stdin:
            process.stdin.close()


def trained(job: Job, at_step: int = 0, do: Callable[[], object] = lambda: None) -> list[Event]:
    """Train to the end; `do` something after a step."""
    kept: list[Event] = []
    for event in train(job):
        kept.append(event)
        if event.type == "step" and event.step == at_step:
            do()
    return kept


def eventually(holds: Callable[[], object], seconds: float = 60) -> None:
    """Wait until it holds."""
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def steps(run: Run) -> int:
    return run.events.read_bytes().count(b'"type": "step"')


def notes(run: Run) -> list[str]:
    return [event["text"] for event in read_events(run.events) if event.get("code") == "track"]


def is_as_untracked(run: Run, other: Run) -> None:
    """The same adapter to the bit, the same events but for the clock and the note, and the same end."""
    names = [file.name for file in sorted(other.adapter.iterdir()) if file.suffix == ".safetensors"]
    assert names
    for name in names:
        assert (run.adapter / name).read_bytes() == (other.adapter / name).read_bytes()
    events = [
        [{key: value for key, value in event.items() if not key.startswith(CLOCKS)} for event in read_events(one.events)
         if event.get("code") != "track"] for one in (run, other)
    ]  # fmt: skip
    assert events[0] == events[1]
    assert run.read_status()["state"] == other.read_status()["state"] == "done"


def test_a_mirror_that_is_killed_leaves_the_run_as_it_is(job: Any, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mirror_process, "LOOK", 0)
    trained(plain := job("none"))
    mirrored = job("wandb")  # only now: the backend has one random state

    def kill() -> None:
        eventually(lambda: told(file))
        (process,) = mirrors(os.getpid())
        process.send_signal(signal.SIGKILL)
        eventually(lambda: not process.is_running() or process.status() == psutil.STATUS_ZOMBIE)

    trained(mirrored, 3, kill)
    is_as_untracked(mirrored.run, plain.run)
    line = "wandb is not told of this run any more: its process ended unexpectedly (signal 9); see "
    assert notes(mirrored.run) == [f"{line}{mirrored.run.path / 'tracker.log'}"]
    assert mirrored.run.read_status()["tracked"]["trouble"] == "its process ended unexpectedly (signal 9)"


@pytest.mark.slow
@pytest.mark.parametrize("place", ["init", "log", "finish"])
def test_a_library_that_hangs_is_waited_for_no_longer_than_said(
    place: str, job: Any, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAKE_HANGS", place)
    monkeypatch.setattr(tracked, "PATIENCE", 0.5)
    mirrored = job("wandb")
    kept = trained(mirrored, 12, (lambda: eventually(lambda: told(file))) if place == "finish" else lambda: None)
    assert kept[-1].values["state"] == mirrored.run.read_status()["state"] == "done"
    finished = next(event["time"] for event in read_events(mirrored.run.events) if event["type"] == "finished")
    assert time.time() - finished < 5  # half a second, and what a busy machine adds
    assert mirrored.tracked["trouble"] == "it has not taken everything yet, and has 60 more seconds"
    assert notes(mirrored.run) == []
    assert len(mirrors(os.getpid())) == 1  # it may still finish


@pytest.mark.parametrize("place", ["init", "log"])
def test_a_library_that_fails_is_told_of_once(
    place: str, job: Any, file: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("FAKE_FAILS", place)
    monkeypatch.setattr(mirror_process, "LOOK", 0)
    mirrored = job("wandb")
    trained(mirrored, 2, lambda: eventually(lambda: MirrorState.read(mirrored.run.path, "wandb").trouble))
    assert notes(mirrored.run) == [
        f"wandb is not told of this run any more: RuntimeError: no {place} [bold]here[/]; see "
        f"{mirrored.run.path / 'tracker.log'}"
    ]
    assert "second line" in (mirrored.run.path / "tracker.log").read_text()
    assert cli.run(["show", str(mirrored.run.path)]) == 0
    assert capsys.readouterr().out.count("no " + place) == 1
    assert MirrorState.read(mirrored.run.path, "wandb").sent == {}  # so that a resume sends it


@pytest.mark.slow
def test_a_failure_at_the_very_end_is_told_by_the_command(
    tiny_model: Path, tiny_pairs: Path, runs_home: Path, file: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.setenv("FAKE_FAILS", "finish")
    monkeypatch.setattr(tracked, "PATIENCE", 60)
    words = ["--model", str(tiny_model), "--data", str(tiny_pairs), "--device", "cpu", "--steps", "2"]
    assert cli.run(["train", *words, "--name", "one", "--track", "wandb"]) == 0
    shown = capsys.readouterr().out.splitlines()
    assert "wandb: https://fake/made-up" in shown
    assert "! wandb: RuntimeError: no finish [bold]here[/]" in shown
    assert Run(runs_home / "one").read_status()["tracked"] == {
        "by": "wandb", "where": "https://fake/made-up", "trouble": "RuntimeError: no finish [bold]here[/]",
    }  # fmt: skip


def test_a_library_that_lets_no_python_run_is_ended_by_the_system(
    job: Any, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAKE_HANGS", "init")
    run = job("wandb").run
    code = "import mio_local.tracking.mirror as mirror; mirror.LONGEST = 1; mirror.main()"
    words = [sys.executable, "-c", code, str(run.path), "wandb", str(os.getpid())]
    with subprocess.Popen(words, stdin=subprocess.PIPE) as process:
        assert process.wait(60) == -signal.SIGALRM
    assert mirror_process._ending(-signal.SIGALRM) == "it gave no answer for 300 seconds"


def test_the_places_tell_what_is_written_again_after_a_resume() -> None:
    """Two notes of one code at a step are two; a step's second evaluation is no step."""
    stream = [("eval", 0, ""), ("note", 0, "lost"), ("note", 0, "lost"), ("note", 0, "cache"), ("step", 1, ""),
              ("step", 2, ""), ("eval", 2, "")]  # fmt: skip
    places = Places()
    found = [places.of({"type": kind, "step": step, "code": code}) for kind, step, code in stream]
    assert found == [("eval", (0, 0)), ("note/lost", (0, 0)), ("note/lost", (0, 1)), ("note/cache", (0, 0)),
                     ("step", (1, 0)), ("step", (2, 0)), ("eval", (2, 0))]  # fmt: skip


@pytest.mark.slow
def test_a_trainer_that_is_killed_and_resumed_leaves_every_figure_once(
    tiny_model: Path, tiny_pairs: Path, tmp_path: Path, file: Path
) -> None:
    """The mirror sends what the dead trainer wrote, and ends; the next one goes on in the same run, and what is trained
    once more is not sent once more."""
    job = prepared(tiny_model, tiny_pairs, tmp_path, "mine", "wandb", 50, steps=300, save_every=20)
    run, command = job.run, [sys.executable, "-m", "mio_local.cli", "resume", "mine", "--runs", str(tmp_path)]
    with (tmp_path / "log").open("ab") as log:
        trainer = subprocess.Popen(command, stdout=log, stderr=log)
        eventually(lambda: run.last_step() >= 40 and steps(run) > run.last_step() + 4 and told(file))
        (mirror,) = mirrors(trainer.pid)
        trainer.kill()
        trainer.wait()
        with suppress(psutil.NoSuchProcess):
            mirror.wait(30)
        cut = steps(run)
        sent = [one["step"] for one in told(file) if "train/loss" in one]
        assert sent == list(range(1, cut + 1))
        assert cut % 20, "killed right behind a checkpoint: nothing is trained once more"
        assert told(file)[-1] == {"ended": 1}
        assert subprocess.run(command, stdout=log, stderr=log, check=False).returncode == 0
    begun = [one for one in told(file) if "id" in one]
    assert [one["id"] for one in begun] == ["made-up"] * 2
    assert begun[0]["config"]["train"]["steps"] == 300
    found = sorted((name, one["step"], value) for one in told(file) for name, value in one.items() if "/" in name)
    assert steady(found) == steady(points(run))


def steady(found: list[Point]) -> list[Point]:
    """Without the values that the clock gives: a step that is taken once more takes another time."""
    return [(name, step, 0.0 if "/perf/" in name else value) for name, step, value in found]
