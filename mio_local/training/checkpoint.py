"""Checkpoints: everything that `resume` needs to go on as if nothing had happened.

A checkpoint is a folder `checkpoints/step-000100/`: state.safetensors (adapter, reference, optimiser and random state;
the backend's), adapter/ (in the ecosystem's format) and trainer.json (the loop's own state). It is written beside its
place and renamed, so a folder of that name is complete.
"""

import json
import os
import shlex
import shutil
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from mio_local.backends import Model
from mio_local.errors import RunError, nearest, one_line
from mio_local.runs.directory import Run, called
from mio_local.runs.events import begins_with
from mio_local.storage.digests import fault_of, seal_folder
from mio_local.storage.json_files import read_json
from mio_local.storage.writing import PRIVATE_FOLDER, make_private
from mio_local.text import visible

ASIDE = "damaged-"  # what a checkpoint is called that was gone back on


@dataclass
class Progress:
    """The loop's own state. `events` is the size of events.jsonl: what follows it is written again after a resume."""

    step: int = 0
    tokens: int = 0
    events: int = 0
    events_digest: str = ""
    best: float | None = None
    best_step: int = 0
    bad_evals: int = 0
    below: int = 0
    round: int = 0  # rounds that are over
    round_step: int = 0  # steps taken in the current one
    made: str = ""  # the digest of what it is trained on
    drawn_by: str = ""  # the policy that drew its answers


def save(run: Run, model: Model, progress: Progress, keep: int) -> Path:
    """Write a checkpoint of this step and drop all but the newest `keep`. The last good one stays until then."""
    place = run.checkpoints / f"step-{progress.step:06d}"
    building = run.checkpoints / f".building-{progress.step:06d}"
    shutil.rmtree(building, ignore_errors=True)
    try:
        building.mkdir(mode=PRIVATE_FOLDER)  # and none above it: a run that was moved away is not begun anew
        model.save_state(building)
        model.save_adapter(building / "adapter")
        seal_folder(building / "adapter")
        (building / "trainer.json").write_text(json.dumps(asdict(progress)) + "\n", encoding="utf-8")
        seal_folder(building)
        make_private(building)
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


def verify(run: Run, folder: Path, *, forced: bool = False) -> None:
    """Raise RunError where a checkpoint, or the events up to it, are not what was written; events pass if `forced`."""
    if fault := fault_of(folder):
        raise _damaged(folder, fault)
    progress = read_progress(folder)
    try:
        same = begins_with(run.events, progress.events, progress.events_digest)
    except OSError as error:
        raise RunError(f"{run.events}: cannot be read: {error.strerror or error}") from None
    if not same and not forced:
        raise RunError(f"{run.events}: not what was written up to step {progress.step}; put that back, or go on with "
                       f"what there is: mio-local resume {called(run)} --force")  # fmt: skip


def choose(run: Run, name: str = "", *, forced: bool = False) -> None:
    """Verify the last checkpoint, or the one called `name`, and set those after it aside: the run goes on from there.
    Raises RunError."""
    saved = run.saved()
    names = [folder.name for folder in saved]
    if name and name not in names:
        there = f"there are {', '.join(names)}" if names else "there is none"
        raise RunError(f"run {run.name}: no checkpoint {name}{nearest(name, names)}; {there}")
    if saved:
        place = saved[names.index(name)] if name else saved[-1]
        verify(run, place, forced=forced)
        for later in saved[saved.index(place) + 1 :]:
            later.rename(later.with_name(f"{ASIDE}{later.name}-{time.time_ns()}"))


def load(folder: Path, model: Model) -> Progress:
    """Restore the model from a checkpoint. Raises RunError where it is damaged."""
    progress = read_progress(folder)
    try:
        model.restore_state(folder)
    except Exception as error:  # safetensors, MLX and torch each have their own
        raise _damaged(folder, one_line(error)) from error
    return progress


def read_progress(folder: Path) -> Progress:
    """The loop's state in a checkpoint. Raises RunError where it is damaged."""
    try:
        return Progress(**read_json(folder / "trainer.json"))
    except (OSError, ValueError, TypeError) as error:
        raise _damaged(folder, one_line(error)) from error


def step_of(run: Run, wanted: str) -> int:
    """The step of the adapter called `wanted`: `final`, `best`, or that of a step; 0 where nothing tells it."""
    if wanted.startswith("step-"):
        return int(wanted.removeprefix("step-"))
    good = run.saved()
    return read_progress(good[-1]).best_step if wanted == "best" and good else run.last_step()


def _damaged(folder: Path, fault: str) -> RunError:
    run = Run(folder.parents[1])
    before = [each for each in run.saved() if each.name < folder.name]
    remedy = f"go on from the one before: mio-local resume {called(run)} --from {before[-1].name}" if before else (
        "there is none before it; start a new run: mio-local train " + visible(shlex.quote(str(run.recipe)))
    )
    return RunError(f"{folder}: damaged checkpoint: {fault}; {remedy}")


def publish_adapter(model: Model, place: Path) -> None:
    """Write the adapter to `place`, replacing what is there in one rename."""
    building = place.with_name(f".{place.name}.building")
    old = place.with_name(f".{place.name}.old")
    for leftover in (building, old):
        shutil.rmtree(leftover, ignore_errors=True)
    try:
        building.mkdir(mode=PRIVATE_FOLDER)
        model.save_adapter(building)
        seal_folder(building)
        make_private(building)
        if place.exists():
            os.rename(place, old)
        try:
            building.rename(place)
        except OSError:
            if old.exists():
                old.rename(place)
            raise
    finally:
        shutil.rmtree(building, ignore_errors=True)
        shutil.rmtree(old, ignore_errors=True)
