"""A full disk ends in one line and exit code 2, and the run goes on with `mio-local resume` once there is space."""

import importlib.util
import os
import resource
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from mio_local.cli import run
from mio_local.errors import RunError
from mio_local.runs.directory import Run

BACKENDS = [name for name, library in (("mlx", "mlx"), ("cuda", "torch")) if importlib.util.find_spec(library)]


def command(runs: Path, *arguments: object, limit: int = 0) -> subprocess.CompletedProcess[str]:
    """Run mio-local in a process of its own, which may write no file of more than `limit` bytes."""

    def small_files() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # so that a write fails with EFBIG
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))

    return subprocess.run(
        [sys.executable, "-m", "mio_local.cli", *map(str, arguments), "--runs", str(runs)], text=True,
        capture_output=True, preexec_fn=small_files if limit else None, timeout=120,
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},  # Python keeps bytecode that was cut by the limit
    )  # fmt: skip


def assert_one_line(ended: subprocess.CompletedProcess[str], *words: str) -> None:
    """Exit code 2, and one line that has the words."""
    assert ended.returncode == 2, ended.stderr
    assert ended.stderr.startswith("mio-local: "), ended.stderr
    assert ended.stderr.count("\n") == 1, ended.stderr
    for word in words:
        assert word in ended.stderr


@pytest.fixture
def arguments(tiny_model: Path, tiny_pairs: Path) -> list[object]:
    """A training of 4 steps with a checkpoint after each second."""
    sizes = ["--steps", 4, "--save-every", 2, "--rank", 2, "--eval-every", 1, "--set", "eval.sample_tokens=8"]
    return ["train", "--model", tiny_model, "--data", tiny_pairs, "--device", "cpu", "--name", "small", *sizes]


@pytest.mark.slow
@pytest.mark.parametrize("backend", BACKENDS)
def test_disk_that_fills_at_a_checkpoint_leaves_a_run_to_resume(
    tmp_path: Path, arguments: list[object], backend: str
) -> None:
    # the recipe and the events are smaller than the limit, the weights are not
    full = command(tmp_path, *arguments, "--rank", 16, "--backend", backend, limit=30_000)
    assert_one_line(full, "run small", "disk is full", "mio-local resume small")
    assert [path.name for path in tmp_path.iterdir()] == ["small"]
    assert not list(tmp_path.rglob(".*"))
    assert run(["resume", "small", "--runs", str(tmp_path)]) == 0
    assert Run(tmp_path / "small").read_status()["state"] == "done"


@pytest.mark.slow
def test_disk_that_is_full_at_the_start_leaves_nothing(tmp_path: Path, arguments: list[object]) -> None:
    full = command(tmp_path, *arguments, "--backend", BACKENDS[0], limit=500)
    assert_one_line(full, str(tmp_path), "free some space")
    assert not list(tmp_path.iterdir())


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Callable[[str], Path]]:
    """Mounts a memory disk of that size; skips where that is not allowed."""
    place = tmp_path / "disk"

    def mount(size: str) -> Path:
        place.mkdir()
        tool = shutil.which("mount")
        if not sys.platform.startswith("linux") or os.geteuid() or tool is None:
            pytest.skip("only root on Linux can mount a small disk")
        made = subprocess.run([tool, "-t", "tmpfs", "-o", f"size={size}", "none", str(place)], capture_output=True)
        if made.returncode:
            pytest.skip(f"cannot mount a small disk: {made.stderr.decode().strip()}")
        return place

    yield mount
    if place.is_mount():
        subprocess.run(["umount", str(place)], check=True)


@pytest.mark.slow
@pytest.mark.parametrize("backend", [pytest.param(name, marks=pytest.mark.slow) if name == "cuda" else name
                                     for name in BACKENDS])  # fmt: skip
def test_full_disk_in_the_middle_leaves_a_run_to_resume(
    small_disk: Callable[[str], Path], arguments: list[object], backend: str
) -> None:
    disk = small_disk("128k")
    (disk / "filler").write_bytes(bytes(60_000))
    with pytest.raises(RunError, match=r"run small: the disk is full .*mio-local resume small"):
        run([*map(str, arguments), "--backend", backend, "--runs", str(disk)])
    subprocess.run(["mount", "-o", "remount,size=4m", str(disk)], check=True)
    assert run(["resume", "small", "--runs", str(disk)]) == 0
    assert Run(disk / "small").read_status()["state"] == "done"
