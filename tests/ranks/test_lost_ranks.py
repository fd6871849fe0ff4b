"""A rank that is killed or stopped ends the run in one line, soon, and with a whole checkpoint to go on from."""

import os
import random
import signal
import subprocess
import time
from pathlib import Path

import pytest

from mio_local.backends import installed
from mio_local.ranks.link import SILENT
from mio_local.runs.directory import Run
from tests.helpers.backends import need_library
from tests.helpers.fakes import read_events
from tests.helpers.ranks.ranked_runs import begun, check_same_curve, mixed_pairs, resumed, tables, trained
from tests.helpers.some import fast

DEATHS = [(backend, rank) for backend in installed() for rank in (0, 1)]


def ranks_of(process: subprocess.Popen[str]) -> list[int]:
    """The processes of a run, that of rank 0 first."""
    others = [
        int(folder.name) for folder in Path("/proc").glob("[0-9]*")
        if (folder / "stat").exists() and _parent(folder) == process.pid
        and b"rank_process" in (folder / "cmdline").read_bytes()
    ]  # fmt: skip
    return [process.pid, *sorted(others)]


def _parent(folder: Path) -> int:
    try:
        return int((folder / "stat").read_text(encoding="utf-8").rpartition(")")[2].split()[1])
    except (OSError, IndexError):
        return 0


def wait_for(process: subprocess.Popen[str], run: Run, steps: int) -> None:
    """Until so many steps were taken."""
    while not run.events.exists() or sum(event["type"] == "step" for event in _whole(run)) < steps:
        assert process.poll() is None, process.communicate()
        time.sleep(0.01)


def _whole(run: Run):
    try:
        return read_events(run.events)
    except ValueError:  # a line that is being written
        return []


@pytest.fixture
def pairs(tmp_path: Path) -> Path:
    """Pairs of mixed lengths."""
    return mixed_pairs(tmp_path / "pairs.jsonl")


@pytest.mark.parametrize("case", fast(DEATHS, [("mlx", 1)]), ids=lambda case: f"{case[0]}-{case[1]}")
def test_a_rank_that_is_killed(tmp_path, tiny_model, pairs, case):
    backend, rank = case
    need_library(backend)
    recipe = tables(tiny_model, pairs, backend)
    alone = trained(tmp_path, "alone", recipe)
    process = begun(tmp_path, "killed", recipe, "--devices", 2)
    run = Run(tmp_path / "runs" / "killed")
    wait_for(process, run, random.Random(f"{backend}{rank}").randint(4, 12))
    everyone = ranks_of(process)
    os.kill(everyone[rank], signal.SIGKILL)
    said = process.communicate(timeout=30)[1]
    if rank:
        assert process.returncode == 2
        told = [line for line in said.splitlines() if line.startswith("mio-local: ")]
        assert len(told) == 1
        assert "rank 1" in told[0]
        assert "SIGKILL" in told[0]
        assert "mio-local resume killed" in told[0]
    end = time.monotonic() + 30
    while any(Path(f"/proc/{pid}/exe").exists() for pid in everyone):
        assert time.monotonic() < end, "the other rank lives on"
        time.sleep(0.05)
    resumed(run, *(["--devices", 1] if rank else []))
    check_same_curve(run, alone)


@pytest.mark.slow
@pytest.mark.parametrize("backend", installed())
def test_a_rank_that_hangs_is_told_in_time(tmp_path, tiny_model, pairs, backend):
    need_library(backend)
    process = begun(tmp_path, "stuck", tables(tiny_model, pairs, backend, steps=500), "--devices", 2)
    run = Run(tmp_path / "runs" / "stuck")
    wait_for(process, run, 4)
    os.kill(ranks_of(process)[1], signal.SIGSTOP)
    began = time.monotonic()
    said = process.communicate(timeout=SILENT + 20)[1]
    assert time.monotonic() - began < 30
    assert process.returncode == 2
    assert "rank 1" in said
    assert "no sign of life" in said
    assert run.saved()
