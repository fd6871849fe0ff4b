"""The run directory: its layout, its lock, its status, and the list of runs.

    RUNS/NAME/
        recipe.toml     the frozen recipe        run.json      versions, revisions, seed, argv of every session
        events.jsonl    see mio_local.runs.events     control.jsonl requests to the trainer
        status.json     where it stands          run.lock      held by the living trainer, or by who waits to train
        checkpoints/    step-000100/, best/      adapter/      the trained adapter, in the ecosystem's format
        trainer.log     what a detached trainer printed    run.pid         that trainer's process, and when it began

States: queued, starting, training, paused, stopping; done, stopped, failed; and lost, which no file holds: a live state
whose lock is free. A queued run whose lock is held waits for the run that its status calls `after`; one whose lock is
free is started by nobody.
"""

import errno
import json
import os
import re
import shlex
import shutil
import socket
import time
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass
from itertools import chain, count
from pathlib import Path
from typing import Any

from mio_local.errors import RunError, is_full_disk, nearest
from mio_local.runs.events import is_number
from mio_local.runs.lock import held, is_held
from mio_local.runs.recipe_digest import recipe_digest
from mio_local.storage.digests import OF_ITSELF, is_whole, sealed
from mio_local.storage.json_files import read_json
from mio_local.storage.plain_files import read_plain
from mio_local.storage.writing import PRIVATE, beside, make_private, private_folder, write_atomically
from mio_local.text import visible

LIVE = ("starting", "training", "paused", "stopping")
RESUMABLE = ("queued", "stopped", "failed", "lost")
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
LONGEST_NAME = 100
RECIPE_DIGEST = "recipe_digest"  # in run.json
RECENT = 300  # seconds; how old the last word of a trainer on another machine may be for it to count as alive
OF_THE_MOMENT = ("pid", "host", "time", "doing", "done", "total", "after", "since", "needs", "waits", "away")


@dataclass(frozen=True)
class Run:
    """A run directory, whether or not it exists yet."""

    path: Path

    @property
    def name(self) -> str:
        return self.path.name

    @property
    def recipe(self) -> Path:
        return self.path / "recipe.toml"

    @property
    def info(self) -> Path:
        return self.path / "run.json"

    @property
    def events(self) -> Path:
        return self.path / "events.jsonl"

    @property
    def control(self) -> Path:
        return self.path / "control.jsonl"

    @property
    def status(self) -> Path:
        return self.path / "status.json"

    @property
    def lock(self) -> Path:
        return self.path / "run.lock"

    @property
    def log(self) -> Path:
        return self.path / "trainer.log"

    @property
    def checkpoints(self) -> Path:
        return self.path / "checkpoints"

    @property
    def adapter(self) -> Path:
        return self.path / "adapter"

    def saved(self) -> list[Path]:
        """Complete checkpoints, oldest first."""
        found = [path for path in self.checkpoints.glob("step-*") if (path / "trainer.json").exists()]
        return sorted((path for path in found if _step(path).isdecimal()), key=lambda path: int(_step(path)))

    def last_step(self) -> int:
        """The step of the newest checkpoint; 0 where there is none."""
        found = self.saved()
        return int(_step(found[-1])) if found else 0

    def exists(self) -> bool:
        """Whether a run was started here."""
        return self.recipe.exists()

    def read_info(self) -> dict[str, Any]:
        """run.json. Raises RunError where it is damaged."""
        info = _read_json(self.info)
        if not is_whole(info):
            raise RunError(f"{self.info}: damaged: not what was written; start a new run from {self.recipe}")
        return {key: value for key, value in info.items() if key != OF_ITSELF}

    def write_info(self, info: dict[str, Any], recipe: str = "") -> None:
        """Replace run.json, with the digest of the recipe that lies beside it, and of one that is about to."""
        texts = [self.recipe_text(), *([recipe] if recipe else [])]
        write_atomically(self.info, _info_text(info, *texts), PRIVATE)

    def recipe_text(self) -> str:
        """recipe.toml. Raises OSError, and ValueError where it is no text."""
        return read_plain(self.recipe).decode("utf-8")

    def read_status(self, *, again: bool = True) -> dict[str, Any]:
        """status.json, with what the lock tells: `state` is `lost` where a live state has no living trainer behind it;
        `waits`, of a queued one, is whether a process waits with it; `away`, of a live one, is the other machine whose
        trainer wrote this a moment ago, as no lock here tells of that."""
        status = {"state": "starting"} | _read_json(self.status, {"step": 0})
        free = status["state"] in LIVE and not self.is_locked()
        if free and again:  # a trainer that ended in between said so before it let the lock go
            return self.read_status(again=False)
        status["waits"] = status["state"] == "queued" and self.is_locked()
        status["away"] = _elsewhere(status) if free else ""
        return status | ({"state": "lost"} if free and not status["away"] else {})

    def unfinished(self, *, forced: bool = False) -> dict[str, Any]:
        """The status of a run that can go on. Raises RunError where it is done, or may train on another machine unless
        `forced`."""
        status = self.read_status()
        if status["state"] == "done":
            shown = f"See it with: mio-local show {called(self)}"
            raise RunError(f"run {self.name} is done; there is nothing to resume. {shown}")
        if status["away"] and not forced:
            raise RunError(f"run {self.name} trains on {status['away']}, which wrote to it a moment ago; stop it "
                           f"there, or where that is gone: mio-local resume {called(self)} --force")  # fmt: skip
        return status

    def write_status(self, **values: Any) -> None:
        """Replace status.json; `pid` is this process unless given."""
        own = {"pid": os.getpid(), "host": socket.gethostname()}
        write_atomically(self.status, json.dumps({**own, **values, "time": time.time()}) + "\n", PRIVATE)

    def update_status(self, **values: Any) -> None:
        """Replace some of status.json, by whoever holds the lock; what was being done, or waited for, is over."""
        before = {key: value for key, value in self.read_status().items() if key not in OF_THE_MOMENT}
        self.write_status(**{**before, **values})

    def amend_status(self, **values: Any) -> None:
        """Replace some of status.json, by whoever holds the lock; who wrote it, and when, stays as it is."""
        write_atomically(self.status, json.dumps(_read_json(self.status, {}) | values) + "\n", PRIVATE)

    def is_locked(self) -> bool:
        """Whether a trainer, or a process that waits to train, holds the lock."""
        return is_held(self.lock)

    def locked(self, descriptor: int = -1) -> AbstractContextManager[int]:
        """Hold the lock, as `lock.held` says. Raises RunError where another process holds it."""
        return held(self.lock, descriptor)


def runs_folder(given: str | None) -> Path:
    """Where runs live: the flag, else MIO_LOCAL_RUNS, else `runs` in the user's data folder. Raises RunError for the
    home of a user that is not there."""
    if chosen := given or os.environ.get("MIO_LOCAL_RUNS"):
        try:
            return Path(chosen).expanduser()
        except RuntimeError:
            name = "--runs" if given else "MIO_LOCAL_RUNS"
            raise RunError(f"{name} {chosen}: there is no such user; choose another --runs folder") from None
    import platformdirs

    return platformdirs.user_data_path("mio-local") / "runs"


def check_folder(runs: Path) -> None:
    """Raise RunError where no run can be made in `runs`; makes nothing."""
    there = next(place for place in (runs, *runs.absolute().parents) if os.path.lexists(place))
    if why := "no folder" if not there.is_dir() else "" if os.access(there, os.W_OK | os.X_OK) else "not writable":
        raise RunError(f"{runs}: no run can be made here: {there} is {why}; choose another --runs folder")


def claim(runs: Path, name: str) -> Run:
    """The run that `name` will be. Raises RunError for a bad name or one that is taken; creates nothing."""
    if not NAME.fullmatch(name):
        raise RunError(f"--name {name}: use letters, digits, '.', '_' and '-', and begin with a letter or digit")
    if len(name) > LONGEST_NAME:
        raise RunError(f"--name {name[:20]}…: too long; use at most {LONGEST_NAME} characters")
    run = Run(runs / name)
    if run.path.exists() and run.is_locked():
        raise RunError(f"run {name} is already training in {runs}, or waits to; choose another --name")
    if run.path.exists():
        raise RunError(f"--name {name}: taken in {runs}; choose another, or continue it with: mio-local resume {name}")
    return run


def create(run: Run, recipe: str, info: dict[str, Any]) -> None:
    """Make the directory, complete or not at all."""
    building = beside(run.path)
    try:
        private_folder(building)
        (building / "recipe.toml").write_text(recipe, encoding="utf-8")
        (building / "run.json").write_text(_info_text(info, recipe), encoding="utf-8")
        (building / "checkpoints").mkdir()
        (building / "events.jsonl").touch()
        (building / "control.jsonl").touch()
        make_private(building)
        building.rename(run.path)
    except OSError as error:
        if error.errno in (errno.EEXIST, errno.ENOTEMPTY):
            raise RunError(f"--name {run.name}: taken a moment ago in {run.path.parent}; choose another") from None
        remedy = "free some space" if is_full_disk(error) else "choose another --runs folder"
        raise RunError(f"{run.path.parent}: no run can be made here: {error.strerror or error}; {remedy}") from None
    finally:
        shutil.rmtree(building, ignore_errors=True)


def _info_text(info: dict[str, Any], *recipes: str) -> str:
    return json.dumps(sealed({**info, RECIPE_DIGEST: [recipe_digest(text) for text in recipes]}), indent=2) + "\n"


def free_name(runs: Path, stem: str) -> str:
    """`stem`, or the first of stem-2, stem-3, ... that is not taken."""
    stem = re.sub(r"[^A-Za-z0-9._-]+", "-", stem).strip("-._")[: LONGEST_NAME - 10] or "run"
    names = chain([stem], (f"{stem}-{number}" for number in count(2)))
    return next(name for name in names if not (runs / name).exists())


def find(runs: Path, name: str) -> Run:
    """The run called `name`, or at that path. Raises RunError with the nearest name."""
    as_path = Run(Path(os.path.expanduser(name)))  # unlike Path's own, leaves a user that is not there as it is
    if as_path.exists():
        return Run(as_path.path.resolve())
    run = Run(runs / name)
    if not run.exists():
        known = [other.name for other in list_runs(runs)]
        raise RunError(f"no run {name} in {runs}{nearest(name, known)}; mio-local runs lists them")
    return run


def list_runs(runs: Path) -> list[Run]:
    """Every run in the folder, newest first. Raises RunError where the folder cannot be listed."""
    found: list[tuple[int, str]] = []
    try:
        for name in os.listdir(runs) if runs.is_dir() else []:
            with suppress(OSError):  # no run, or one that is being deleted
                if not name.startswith("."):
                    found.append((os.stat(f"{runs}/{name}/recipe.toml").st_mtime_ns, name))
    except OSError as error:
        raise RunError(f"{runs}: cannot be read: {error.strerror or error}") from None
    return [Run(runs / name) for _, name in sorted(found, reverse=True)]


def elsewhere(runs: Path) -> str:
    """` --runs FOLDER` for a command line; empty where runs are looked for without it."""
    with suppress(RunError):
        if runs.absolute() == runs_folder(None).absolute():
            return ""
    return f" --runs {visible(shlex.quote(str(runs)))}"


def called(run: Run) -> str:
    """How to name a run on the command line, with --runs where it takes that."""
    return visible(shlex.quote(run.name)) + elsewhere(run.path.parent)


def _elsewhere(status: dict[str, Any]) -> str:
    """The other machine that wrote a status a moment ago; "" where it was this one, or long ago."""
    host, when = status.get("host"), status.get("time")
    recent = is_number(when) and abs(time.time() - when) < RECENT
    return host if recent and isinstance(host, str) and host != socket.gethostname() else ""


def _step(checkpoint: Path) -> str:
    return checkpoint.name.removeprefix("step-")


def _read_json(path: Path, missing: dict[str, Any] | None = None) -> dict[str, Any]:
    """What a file of a run says; `missing` where there is none. Raises RunError."""
    try:
        value = read_json(path)
    except FileNotFoundError:
        if missing is not None:
            return missing
        raise RunError(f"{path}: missing, so this is no complete run directory") from None
    except ValueError:
        raise RunError(f"{path}: damaged (not JSON)") from None
    except OSError as error:
        raise RunError(f"{path}: cannot be read: {error.strerror or error}") from None
    return value if isinstance(value, dict) else {}
