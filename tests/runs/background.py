"""Real trainers in the background: what they train, and waiting for what they do."""

import os
import signal
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from mio_local.runs.directory import Run
from mio_local.runs.lock import holder
from tests.helpers.fakes import read_events

COMMAND = [sys.executable, "-m", "mio_local.cli"]
Make = Callable[..., Run]


def tables(model: Path, pairs: Path, steps: int = 4, tokens: int = 0, **train: Any) -> dict[str, Any]:
    return {
        "model": {"name": str(model)}, "data": {"source": str(pairs), "eval_fraction": 0.2}, "lora": {"rank": 4},
        "train": {"steps": steps, "learning_rate": 1e-2} | train, "eval": {"every": 4, "sample_tokens": tokens},
        "backend": {"name": "mlx", "device": "cpu"},
    }  # fmt: skip


def until(truth: Callable[[], Any], seconds: float = 40) -> None:
    end = time.monotonic() + seconds
    while not truth():
        assert time.monotonic() < end
        time.sleep(0.01)


def state(run: Run) -> str:
    return run.read_status()["state"]


def ended(run: Run) -> str:
    """The state in which its trainer leaves it."""
    until(lambda: not run.is_locked())
    return state(run)


def killed(run: Run) -> bool:
    """Kill the process that trains a run or waits with it; whether there was one."""
    if pid := holder(run.lock):
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        until(lambda: not run.is_locked())
    return pid > 0


def of_type(run: Run, kind: str) -> list[dict[str, Any]]:
    return [event for event in read_events(run.events) if event["type"] == kind]
