"""The command line answers at once, and the repository keeps its shape."""

import json
import resource
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
HEAVY = ("mlx", "torch", "transformers", "datasets", "textual")
TOP = {"pyproject.toml", "README.md", "mio_local", "backends", "tui", "tests", "recipes"}
MAY = {"LICENSE", "Makefile", "uv.lock"}
LONGEST = 300
HELP = "import contextlib, sys\nfrom mio_local.cli import run\nwith contextlib.suppress(SystemExit): run({})"


@pytest.mark.parametrize(
    "code",
    ["import mio_local", *(HELP.format(repr(words)) for words in (["--help"], ["train", "--help"], []))],
    ids=["import", "--help", "train --help", "no arguments"],
)
def test_help_loads_nothing_heavy(code: str) -> None:
    code += f"\nimport json, sys; print(json.dumps([name for name in {HEAVY} if name in sys.modules]))"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert json.loads(ended.stdout.splitlines()[-1]) == []


def test_help_answers_at_once() -> None:
    """By the CPU time that it takes, as others may be at work here."""
    best = 1e9
    for _ in range(3):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        command = [sys.executable, "-m", "mio_local.cli", "--help"]
        ended = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        best = min(best, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
        assert ended.stdout.startswith("usage: mio-local")
    assert best < 0.5


def tracked() -> list[Path]:
    """The files that git knows and that are there."""
    if not (ROOT / ".git").exists():
        pytest.skip("not a git checkout")
    listed = subprocess.run(["git", "-C", str(ROOT), "ls-files", "-z"], capture_output=True, text=True)
    if listed.returncode:
        pytest.skip(f"git cannot list the files: {listed.stderr.strip()}")
    return [path for name in listed.stdout.split("\0") if name and (path := ROOT / name).exists()]


def test_top_level_of_the_repository_is_the_agreed_one() -> None:
    top = {path.relative_to(ROOT).parts[0] for path in tracked()}
    visible = {name for name in top if not name.startswith(".")}
    assert visible - MAY <= TOP
    assert visible >= TOP


def test_no_source_file_is_longer_than_the_limit() -> None:
    files = [file for folder in ("mio_local", "backends", "tui", "tests") for file in (ROOT / folder).rglob("*.py")]
    assert files
    lengths = {str(file.relative_to(ROOT)): len(file.read_text(encoding="utf-8").splitlines()) for file in files}
    assert {name: length for name, length in lengths.items() if length > LONGEST} == {}
