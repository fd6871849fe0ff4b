"""A command says a line before it imports what takes seconds; what it prints then takes that line's place."""

import json
import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

from mio_local.arguments import parser
from tests.commands.test_imports import HEAVY
from tests.helpers.tui.pseudo_terminal import PtyApp

PAIRS = ["--model", "base", "--data", "pairs.jsonl"]
OF_RUN = "resume check watch attach pause stop show delete undelete plot report chat generate eval"
GIVEN: dict[str, list[str]] = {
    **{name: ["seen"] for name in OF_RUN.split()},
    **{name: [] for name in ("demo", "runs", "recipes", "doctor", "help")},
    "train": PAIRS, "bench": PAIRS, "data": ["check", "pairs.jsonl", "--model", "base"],
    "rename": ["seen", "again"], "note": ["seen", "a note"], "tag": ["seen", "+good"],
    "export": ["seen", "--to", "gguf"], "push": ["seen", "--to", "somebody/something"],
}  # fmt: skip
READ = dict.fromkeys(("train", "data", "bench"), "pairs.jsonl")
Written = tuple[str, list[str]]
# each command in a fork, which ends at the second that it writes, and tells with both what it had imported
FORKS = """
import json, os, sys
from mio_local import cli, flags  # once for all

class First:
    written = []
    def write(self, text):
        self.written.append([text, [name for name in HEAVY if name in sys.modules]])
        if len(self.written) == 2:
            os.write(told, json.dumps([sys.argv[1], *self.written]).encode() + b"\\n")
            os._exit(0)
    def __getattr__(self, name):
        return getattr(sys.__stdout__, name)

HEAVY, commands, told = json.loads(sys.argv[1]), json.loads(sys.argv[2]), int(sys.argv[3])
for words in commands:
    if not (pid := os.fork()):
        sys.argv = ["mio-local", *words]
        sys.stdout = sys.stderr = First()
        cli.main()
    os.waitpid(pid, 0)
"""


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[Written]]:
    """By command, the two that it writes to a terminal first, and what it had imported by then."""
    folder = tmp_path_factory.mktemp("first")
    terminal, end = pty.openpty()
    read, write = os.pipe()
    words = json.dumps([[name, *given] for name, given in GIVEN.items()])
    subprocess.run(
        [sys.executable, "-c", FORKS, json.dumps(HEAVY), words, str(write)], stdin=subprocess.DEVNULL, stdout=end,
        stderr=end, pass_fds=[write], cwd=folder, check=True, timeout=120,
        env={**os.environ, "MIO_LOCAL_RUNS": str(folder / "runs"), "MIO_LOCAL_PRELOAD": "0", "TERM": "xterm"},
    )  # fmt: skip
    for handle in (terminal, end, write):
        os.close(handle)
    with os.fdopen(read, encoding="utf-8") as told:
        return {name: written for name, *written in map(json.loads, told)}


@pytest.mark.parametrize("command", parser().commands)
def test_a_line_is_there_before_anything_heavy_is_imported(command: str, first: dict[str, list[Written]]) -> None:
    (starting, held), (then, held_then) = first[command]
    assert held == []
    assert f"{command}: starting" in starting
    if GIVEN[command]:
        assert held_then == []
        assert f"{command}: reading {READ.get(command, 'seen')}" in then


def test_what_is_printed_takes_its_place(tmp_path: Path) -> None:
    with PtyApp(80, 10, "-m", "mio_local.cli", "--runs", str(tmp_path), "delete", "none") as app:
        app.wait_for("mio-local: no run none")
        assert app.grid.lines()[0].startswith("mio-local: no run none")


def test_a_pipe_gets_none(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "mio_local.cli", "--runs", str(tmp_path), "runs"]
    ended = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    assert "runs: " not in ended.stdout + ended.stderr
    assert "\x1b" not in ended.stdout + ended.stderr
