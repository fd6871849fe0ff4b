"""The processes of a run on several ranks: which they are, how far they got, and that none is left."""

import os
import subprocess
import time
from collections.abc import Callable
from typing import Any

import psutil

from mio_local.runs.directory import Run
from tests.helpers.fakes import read_events


def ranks_of(process: "subprocess.Popen[str]") -> list[psutil.Process]:
    """The ranks that there are, that of the process first, which began the others."""
    first = psutil.Process(process.pid)
    found = list[psutil.Process]()
    for other in first.children():
        try:
            if "mio_local.ranks.rank_process" in other.cmdline():
                found.append(other)
        except psutil.Error:  # it ended a moment ago
            continue
    return [first, *sorted(found, key=lambda other: other.pid)]


def session_of(process: "subprocess.Popen[str]") -> list[psutil.Process]:
    """What lives of all that a process began, which has a session of its own; a launcher's ranks may have others."""
    found = list[psutil.Process]()
    for other in psutil.process_iter():
        try:
            if os.getsid(other.pid) == process.pid and other.status() != psutil.STATUS_ZOMBIE:
                found.append(other)
        except (OSError, psutil.Error):  # it ended a moment ago
            continue
    return found


def wait_for(process: "subprocess.Popen[str]", run: Run, steps: int) -> None:
    """Until so many steps were taken."""
    _wait(process, run, lambda: steps_of(run) >= steps)


def wait_for_events(process: "subprocess.Popen[str]", run: Run, count: int) -> None:
    """Until so many events were written."""
    _wait(process, run, lambda: len(_whole(run)) >= count)


def steps_of(run: Run) -> int:
    """How many it took so far."""
    return sum(event["type"] == "step" for event in _whole(run))


def _wait(process: "subprocess.Popen[str]", run: Run, enough: Callable[[], bool]) -> None:
    while not run.events.exists() or not enough():
        assert process.poll() is None, process.communicate()
        time.sleep(0.01)


def check_gone(processes: list[psutil.Process]) -> None:
    """None of them lives on: they end by themselves, however long it takes on a busy machine."""
    left = psutil.wait_procs(processes, timeout=60)[1]
    left = [one for one in left if one.is_running() and one.status() != psutil.STATUS_ZOMBIE]
    assert not left, "ranks live on"


def _whole(run: Run) -> list[dict[str, Any]]:
    try:
        return read_events(run.events)
    except ValueError:  # a line that is being written
        return []
