"""The line of a folder: which runs train, which wait for which, and which were left in it and are started by nobody.

A run waits in a process of its own (see `launch`) that holds its lock; status.json says `queued`, and `after` names the
run ahead. That run is over once nobody holds its lock: done, stopped, failed, lost, deleted. Whatever became of it, the
next begins, as runs in a line need have nothing in common; only a stage (`needs`) begins after nothing but a run that
is done. Where a run leaves the line before its turn, what it waited for is still ahead of those behind it.

So nothing here depends on the app, nor on who trains what is ahead: a worker, another terminal, another version.
"""

import time
from collections.abc import Callable, Collection, Generator, Mapping
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mio_local.errors import RunError
from mio_local.runs.control import Control
from mio_local.runs.directory import LIVE, Run, called, list_runs
from mio_local.runs.events import is_number
from mio_local.runs.lock import alone

POLL = 0.5  # seconds between two looks at the run ahead
Status = dict[str, Any]


def busy(folder: Path) -> list[Run]:
    """The runs whose trainer works now, newest first, then those that wait, in line. Raises RunError where the folder
    cannot be listed."""
    found = _held(folder)
    return [Run(folder / name) for name, status in found.items() if status["state"] in LIVE] + _waiting(folder, found)


def waiting(folder: Path) -> list[Run]:
    """The runs that wait, in line. Raises RunError where the folder cannot be listed."""
    return _waiting(folder, _held(folder))


def last_in_line(folder: Path) -> Run | None:
    """The run after which a new one should run: the last that waits, else one that trains; None where there is neither.
    Raises RunError where the folder cannot be listed."""
    found = _held(folder)
    line = _waiting(folder, found) or [Run(folder / name) for name, status in found.items() if status["state"] in LIVE]
    return line[-1] if line else None


def left(folder: Path) -> list[list[Run]]:
    """The queued runs that nobody starts, after a reboot say, in their order; those that need one another are one list.
    What they waited for stands before them where it was lost, or where they need it. Raises RunError where the folder
    cannot be listed."""
    known = {run.name: _status(run) for run in list_runs(folder)}
    lists: list[list[Run]] = []
    for name in in_order({name: one for name, one in known.items() if one["state"] == "queued" and not one["waits"]}):
        run, ahead, needs = Run(folder / name), ahead_of(known[name]), known[name].get("needs") is True
        one = next((one for one in lists if one[-1].name == ahead), None)
        if one is None and known.get(ahead, {}).get("state") in ("lost", *["stopped", "failed"] * needs):
            one = [Run(folder / ahead)]
            lists.append(one)
        if one and needs:
            one.append(run)
        else:
            lists.append([run])
    return lists


@contextmanager
def idle(run: Run, done: str) -> Generator[None]:
    """Keep a run from being trained while it is `done` something. Raises RunError where it trains, here or on another
    machine, or waits."""
    status = _status(run)
    doing = f"waits for {ahead_of(status)}" if status["waits"] else f"is {status['state']}"
    if status["waits"] or status["state"] in LIVE:
        where = f" on {status['away']}" if status["away"] else ""
        raise RunError(f"run {run.name} {doing}{where}, so it cannot be {done}; first: mio-local stop {called(run)}")
    # one without this file was never trained, and where it is a link its folder is not ours to write to
    with alone(run.lock, f"run {run.name} is in use; try again later") if run.lock.exists() else nullcontext():
        yield


def last_behind(run: Run, but: Collection[Run] = ()) -> Run:
    """The last of those that wait for `run`, one behind the other; itself where none does. `but` are passed over."""
    line = {ahead_of(_status(one)): one for one in waiting(run.path.parent) if one not in but}
    passed = {run.name}
    while (behind := line.get(run.name)) and behind.name not in passed:
        passed.add(behind.name)
        run = behind
    return run


def waits_for(run: Run, names: Collection[str]) -> bool:
    """Whether one of `names` is ahead of a run that waits, or ahead of what is ahead of it."""
    passed: set[str] = set()
    while run.name not in passed and (ahead := ahead_of(_status(run))):
        if ahead in names:
            return True
        passed.add(run.name)
        run = Run(run.path.parent / ahead)
    return False


def place_in_line(name: str, ahead: Callable[[str], str]) -> int:
    """Which one in its line a run is, 1 the next to begin; 0 where it does not wait. `ahead` names the run that one
    waits for, "" for one that does not wait."""
    passed: list[str] = []
    while name not in passed and (then := ahead(name)):
        passed.append(name)
        name = then
    return len(passed)


def place_of(run: Run) -> int:
    """The same of a run, from the files of those ahead."""

    def ahead(name: str) -> str:
        status = _status(Run(run.path.parent / name))
        return ahead_of(status) if status["waits"] else ""

    return place_in_line(run.name, ahead)


def ahead_of(status: Mapping[str, Any]) -> str:
    """The name of the run that a queued one is to run after; "" where none is, or what stands there is no name."""
    return _named(status) if status["state"] == "queued" else ""


def _named(status: Mapping[str, Any]) -> str:
    name = status.get("after")
    return name if isinstance(name, str) and name not in (".", "..") and not {"/", "\0"} & set(name) else ""


def in_order(known: Mapping[str, Status]) -> list[str]:
    """The names of queued runs, those ahead before those behind, else by when they were put in line."""

    def place(name: str) -> tuple[int, float, str]:
        since = known[name].get("since", known[name].get("time"))
        before: list[str] = []
        here = name
        while here in known and here not in before:
            before.append(here)
            here = ahead_of(known[here])
        return len(before), since if is_number(since) else 0.0, name

    return sorted(known, key=place)


def wait(run: Run, control: Control) -> bool:
    """Wait until a queued run whose lock is held may begin. Whether it may: else it was asked to stop, or this process
    was, or it needs a run that did not end as done; or it is gone. Raises RunError and OSError."""
    status = run.read_status()
    kept = {key: status[key] for key in ("since", "needs") if key in status}
    line = _Line(run.path.parent, ahead_of(status))
    first = shown = line.name
    run.update_status(state="queued", after=shown, **kept)  # with this process's number
    while True:
        stop, commands = control.stop_asked(), control.kept
        if not run.exists() or ("signal", "stop") in commands:  # the machine shuts down: it is for `left` to find
            return False
        if stop:
            reason = "taken out of the line before its turn"
            run.update_status(state="stopped", reason=reason, after=line.name)  # still ahead of those behind it
            return False
        if any(command == "resume" for _, command in commands):
            break
        ahead = line.goes_on()
        if line.name != first and status.get("needs") is True:
            if (state := _status(Run(line.folder / first))["state"]) == "done":
                break
            reason = f"{first} is {state}, so this was not begun"
            run.update_status(state="queued", after=first, reason=reason, **kept)
            return False
        if not ahead:
            break
        if line.name != shown:
            shown = line.name
            run.update_status(state="queued", after=shown, **kept)
        time.sleep(POLL)
    run.update_status(state="starting", reason="", doing="starting")
    return True


@dataclass
class _Line:
    """What is ahead of a run: the one that it waits for, and what that one was seen to wait for last."""

    folder: Path
    name: str
    then: str = ""

    def goes_on(self) -> bool:
        """Whether somebody is ahead still. One that is over is passed over; `name` is the next then."""
        passed: set[str] = set()
        while self.name and self.name not in passed:
            passed.add(self.name)
            if self._look(Run(self.folder / self.name)):
                return True
            self.name, self.then = self.then, ""
        return False

    def _look(self, run: Run) -> bool:
        try:
            locked = run.is_locked()
        except OSError:  # too many files are open: it is asked again
            return True
        status = _status(run)
        if status["state"] != "gone":
            self.then = _named(status)
        # one that was laid out and not put in line yet is not over: it did not begin
        return locked or (status["state"] == "queued" and "since" not in status)


def _held(folder: Path) -> dict[str, Status]:
    """The status of every run whose lock somebody holds, newest run first."""
    found: dict[str, Status] = {}
    for run in list_runs(folder):
        with suppress(OSError):
            if run.is_locked():
                found[run.name] = _status(run)
    return found


def _waiting(folder: Path, held: Mapping[str, Status]) -> list[Run]:
    line = in_order({name: status for name, status in held.items() if status["state"] == "queued"})
    return [Run(folder / name) for name in line]


def _status(run: Run) -> Status:
    """A run's status; of one that is gone or damaged, which nobody waits for, one that says so."""
    try:
        return run.read_status() if run.exists() else {"state": "gone", "waits": False, "away": ""}
    except (RunError, OSError):
        return {"state": "damaged", "waits": False, "away": ""}
