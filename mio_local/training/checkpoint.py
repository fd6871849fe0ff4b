"""Checkpoints: everything that `resume` needs to go on as if nothing had happened.

A checkpoint is a folder `checkpoints/step-000100/`: state.safetensors (adapter, reference, optimiser and random state;
the backend's), adapter/ (in the ecosystem's format) and trainer.json (the loop's own state). It is written beside its
place and renamed, so a folder of that name is complete.
"""

import json
import os
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path

from mio_local.backends import Model
from mio_local.errors import RunError, one_line
from mio_local.runs.directory import Run


@dataclass
class Progress:
    """The loop's own state. `events` is the size of events.jsonl: what follows it is written again after a resume."""

    step: int = 0
    tokens: int = 0
    events: int = 0
    best: float | None = None
    best_step: int = 0
    bad_evals: int = 0
    below: int = 0


def save(run: Run, model: Model, progress: Progress, keep: int) -> Path:
    """Write a checkpoint of this step and drop all but the newest `keep`. The last good one stays until then."""
    place = run.checkpoints / f"step-{progress.step:06d}"
    building = run.checkpoints / f".building-{progress.step:06d}"
    shutil.rmtree(building, ignore_errors=True)
    try:
        building.mkdir(parents=True)
        model.save_state(building)
        model.save_adapter(building / "adapter")
        (building / "trainer.json").write_text(json.dumps(asdict(progress)) + "\n", encoding="utf-8")
        _flush(building)
        shutil.rmtree(place, ignore_errors=True)
        building.rename(place)
    finally:
        shutil.rmtree(building, ignore_errors=True)
    for old in run.saved()[:-keep]:
        shutil.rmtree(old, ignore_errors=True)
    return place


def _flush(folder: Path) -> None:
    """Have the files on the disk before the rename that vouches for them: a power cut must not leave a name alone."""
    for file in folder.rglob("*"):
        if file.is_file():
            with file.open("rb") as handle:
                os.fsync(handle.fileno())


def load(folder: Path, model: Model) -> Progress:
    """Restore the model from a checkpoint. Raises RunError where it is damaged."""
    progress = read_progress(folder)
    try:
        model.restore_state(folder)
    except Exception as error:  # safetensors, MLX and torch each have their own
        raise _damaged(folder, error) from error
    return progress


def read_progress(folder: Path) -> Progress:
    """The loop's state in a checkpoint. Raises RunError where it is damaged."""
    try:
        return Progress(**json.loads((folder / "trainer.json").read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError) as error:
        raise _damaged(folder, error) from error


def step_of(run: Run, wanted: str) -> int:
    """The step of the adapter called `wanted`: `final`, `best`, or that of a step; 0 where nothing tells it."""
    if wanted.startswith("step-"):
        return int(wanted.removeprefix("step-"))
    good = run.saved()
    return read_progress(good[-1]).best_step if wanted == "best" and good else run.last_step()


def _damaged(folder: Path, error: Exception) -> RunError:
    return RunError(f"{folder}: damaged checkpoint ({one_line(error)}); delete it and resume from the one before")


def publish_adapter(model: Model, place: Path) -> None:
    """Write the adapter to `place`, replacing what is there in one rename."""
    building = place.with_name(f".{place.name}.building")
    old = place.with_name(f".{place.name}.old")
    for leftover in (building, old):
        shutil.rmtree(leftover, ignore_errors=True)
    try:
        model.save_adapter(building)
        if place.exists():
            os.rename(place, old)
        building.rename(place)
    finally:
        shutil.rmtree(building, ignore_errors=True)
        shutil.rmtree(old, ignore_errors=True)
