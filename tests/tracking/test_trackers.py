"""Each tracker for real and offline: a run, stopped and gone on with, read back by the tracker's own library."""

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any, get_args

import pytest

from mio_local import cli
from mio_local.errors import RunError
from mio_local.process import installing
from mio_local.recipe import TrainSettings, build
from mio_local.runs.control import request
from mio_local.runs.directory import Run
from mio_local.tracking.mirror import settings
from mio_local.tracking.mirror_state import MirrorState
from mio_local.tracking.trackers import TRACKERS
from mio_local.training import tracked
from mio_local.training.integrity import check_recipe
from mio_local.training.job import Job
from mio_local.training.loop import train
from mio_local.training.prepare import start
from mio_local.training.reopen import reopen
from tests.helpers.tracking.tracker_readers import READERS, in_single, points, times


def tables(model: Path, pairs: Path, tracker: str) -> dict[str, Any]:
    """Eight steps, the held-out pairs scored after every other one."""
    return {
        "model": {"name": str(model)}, "data": {"source": str(pairs), "eval_fraction": 0.2},
        "eval": {"every": 2, "sample_tokens": 0}, "backend": {"device": "cpu"},
        "train": {"steps": 8, "batch_size": 2, "save_every": 3, "learning_rate": 1e-3, "track": tracker},
    }  # fmt: skip


def train_all(job: Job, stop_after: int = 0) -> None:
    for event in train(job):
        if event.type == "step" and event.step == stop_after:
            request(job.run.control, "stop")


@pytest.fixture
def offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No tracker speaks to the outside or leaves anything elsewhere; the first time, one may take long."""
    for name in [name for name in os.environ if name.startswith(("WANDB_", "MLFLOW_", "TRACKIO_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("TRACKIO_DIR", str(tmp_path / "trackio"))
    monkeypatch.setattr(tracked, "PATIENCE", 120)


@pytest.mark.usefixtures("offline")
@pytest.mark.parametrize("tracker", TRACKERS)
def test_every_figure_is_there_once_after_a_stop_and_a_resume(
    tracker: str, tiny_model: Path, tiny_pairs: Path, tmp_path: Path
) -> None:
    if find_spec(tracker) is None:
        pytest.skip(f"{tracker} is not installed: {installing(tracker)}")
    run = Run(tmp_path / "runs" / "mine")
    train_all(start(build(tables(tiny_model, tiny_pairs, tracker), "test"), run.path.parent, "mine"), stop_after=5)
    first, before = MirrorState.read(run.path, tracker), points(run)
    said = (run.path / "tracker.log").read_text()
    assert (first.trouble, run.read_status()["state"]) == ("", "stopped"), said
    assert first.where
    assert run.read_status()["tracked"] == {"by": tracker, "where": first.where}
    train_all(reopen(run))
    assert MirrorState.read(run.path, tracker).identity == first.identity
    wanted = points(run)
    found, when = READERS[tracker](run)
    assert len(wanted) > len(before) > 100
    assert found == (sorted(in_single(wanted)) if tracker == "tensorboard" else wanted)
    assert when == pytest.approx({step: time for step, time in times(run).items() if step in when}, abs=0.002)
    assert len(when) >= 4 or tracker == "trackio"  # which takes no time from outside
    if tracker == "tensorboard":
        assert {file.stat().st_mode & 0o077 for file in run.path.rglob("*")} == {0}


def test_the_recipe_names_every_tracker() -> None:
    assert get_args(TrainSettings.model_fields["track"].annotation) == ("none", *TRACKERS)


@pytest.mark.parametrize("tracker", TRACKERS)
def test_a_library_that_is_missing_is_told_before_anything_is_done(
    tracker: str, mistake: Any, tmp_path: Path, tiny_model: Path, tiny_pairs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where a folder of its name lies about, as wandb leaves one where it ran."""
    monkeypatch.setitem(sys.modules, tracker, None)
    words = ["train", "--model", tiny_model, "--data", tiny_pairs, "--track", tracker]
    line = mistake(*words)
    assert line.startswith(f"mio-local: train.track = {tracker}: not installed; install it with: pip install ")
    assert line.endswith(f"[{tracker}]'")
    assert mistake(*words, "--detach") == line
    (tmp_path / tracker).mkdir()
    monkeypatch.delitem(sys.modules, tracker)
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    assert mistake(*words, "--detach") == line


@pytest.mark.slow
def test_a_run_goes_on_with_another_tracker_and_with_none(
    tiny_model: Path, tiny_pairs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mistake: Any
) -> None:
    folder = tmp_path / "runs"
    train_all(start(build(tables(tiny_model, tiny_pairs, "none"), "test"), folder, "mine"), stop_after=2)
    run = Run(folder / "mine")
    frozen = run.recipe.read_text()
    monkeypatch.setitem(sys.modules, "wandb", None)
    run.recipe.write_text(frozen.replace('track = "none"', 'track = "wandb"'))
    assert mistake("resume", "mine").endswith(
        f"{installing('wandb')}, or write track = \"none\" under [train] of {run.recipe}"
    )
    run.recipe.write_text(frozen.replace('track = "none" # ', "track='none'# other words: "))
    reopen(run)
    run.recipe.write_text("".join(line for line in frozen.splitlines(keepends=True) if "track = " not in line))
    train_all(reopen(run))
    assert run.read_status()["state"] == "done"
    run.recipe.write_text(frozen.replace("steps = 8", "steps = 9"))
    with pytest.raises(RunError, match="not what the run was made with"):
        check_recipe(run)


def test_settings_go_without_what_looks_like_a_secret() -> None:
    given = {
        "data": {"source": "https://me:hunter2@host/pairs.jsonl", "system": "use hf_abcdefghijkl",
                 "template_args": {"api_key": "k-1", "hf_token": 7, "enable_thinking": False}},
        "train": {"steps": 3},
    }  # fmt: skip
    told = settings(build(given, "test"))
    assert told["data"]["source"] == "https://…@host/pairs.jsonl"
    assert told["data"]["system"] == "use …"
    assert told["data"]["template_args"] == {"api_key": "…", "hf_token": "…", "enable_thinking": False}
    assert (told["data"]["max_tokens"], told["train"]["steps"], told["loss"]["name"]) == (1024, 3, "mio")
    assert told["lora"]["targets"] == ["all-linear"]


def test_doctor_names_the_trackers(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["doctor", "--runs", str(tmp_path)]) == 0
    (line,) = [line for line in capsys.readouterr().out.splitlines() if "trackers: " in line]
    for name in TRACKERS:
        assert name in line
        assert (name in line.partition("not installed")[2]) == (find_spec(name) is None)


@pytest.mark.parametrize(
    "said", ["", "{", "[]", "{}", '{"sent": 3}', '{"identity": 1, "where": "", "trouble": "", "sent": {}}',
             '{"identity": "", "where": "", "trouble": "", "sent": {"step": [1]}}']
)  # fmt: skip
def test_a_damaged_state_is_none(said: str, tmp_path: Path) -> None:
    (tmp_path / "tracked-wandb.json").write_text(said)
    assert MirrorState.read(tmp_path, "wandb") == MirrorState(tmp_path / "tracked-wandb.json")


def test_the_commands_load_no_tracker() -> None:
    """They take seconds to import."""
    code = "import sys, mio_local.training.loop; print(*{'trackio', 'wandb', 'mlflow', 'tensorboard'} & {*sys.modules})"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "\n"
