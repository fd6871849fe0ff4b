"""The faults: when each strikes, by the share of a command's changes of files, or of its time, that are done."""

import errno
import signal
from dataclasses import dataclass, field
from typing import Any

import pytest

from tests.faults.commands import COMMANDS, Command


@dataclass(frozen=True)
class Fault:
    """One fault. `asked` goes to the fork server as it is; at 0 it strikes before anything."""

    name: str
    at: float = 0.0
    asked: dict[str, Any] = field(default_factory=dict)
    place: str = ""  # of a file system: full, read-only
    run: str = ""  # of the run's folder: moved, deleted


def signals(number: signal.Signals, *moments: float) -> list[Fault]:
    return [Fault(f"{number.name}@{at}", at, {"signal": int(number)}) for at in moments]


KILLS = (0.1, 0.3, 0.5, 0.6, 0.9)
MORE_KILLS = (0.02, 0.2, 0.4, 0.7, 0.8, 1.0)  # of what trains
ANY = [
    Fault("no-handles", asked={"files": 10}),
    Fault("few-handles", asked={"files": 24}),
    Fault("no-memory", asked={"memory": 16 << 20}),
    Fault("little-memory", asked={"memory": 128 << 20}),
    Fault("clock-set-back", asked={"before": ["clock_set_back"]}),
    Fault("no-locks", asked={"before": ["no_locks"]}),
]
WRITING = [
    *signals(signal.SIGKILL, *KILLS),
    *signals(signal.SIGTERM, 0.3, 0.8),
    *signals(signal.SIGHUP, 0.3, 0.8),
    *signals(signal.SIGINT, 0.5),
    *signals(signal.SIGSTOP, 0.5),
    Fault("no-space-from@0.1", 0.1, {"errno": errno.ENOSPC, "making": True}),
    Fault("no-space-from@0.7", 0.7, {"errno": errno.ENOSPC, "making": True}),
    Fault("full@0.1", 0.1, place="full"),
    Fault("full@0.6", 0.6, place="full"),
    Fault("read-only", place="read-only"),
    Fault("read-only-from@0.5", 0.5, {"errno": errno.EROFS}),
    Fault("failing-from@0.4", 0.4, {"errno": errno.EIO}),
    Fault("no-modes", asked={"before": ["no_modes"]}),
]
OF_RUNS = [
    Fault("moved@0.3", 0.3, run="moved"), Fault("moved@0.7", 0.7, run="moved"), Fault("deleted@0.5", 0.5, run="deleted")
]  # fmt: skip
READING = [*signals(signal.SIGKILL, 0.5), *signals(signal.SIGTERM, 0.5), *signals(signal.SIGINT, 0.5)]
FEW = ("SIGKILL@0.6", "SIGTERM@0.8", "full@0.6", "moved@0.7")


def faults_of(command: Command) -> list[Fault]:
    found = [*ANY, *(WRITING if command.writes else READING), *(OF_RUNS if command.run else [])]
    found += signals(signal.SIGKILL, *MORE_KILLS) if command.trains else []
    return [fault for fault in found if not command.few or fault.name in FEW]


def cases(on_each_backend: bool) -> Any:
    """Each fault of the commands that are tried on each backend, or of the others."""
    found = [(command.name, fault) for command in COMMANDS.values() if command.on_each_backend == on_each_backend
             for fault in faults_of(command)]  # fmt: skip
    return pytest.mark.parametrize(("name", "fault"), found, ids=[f"{name}-{fault.name}" for name, fault in found])
