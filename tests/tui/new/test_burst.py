"""Keys that are written to the terminal at once land where they would if they were pressed one by one."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.helpers.some import fast
from tests.helpers.tui.terminal import Terminal

pytestmark = pytest.mark.skipif(not shutil.which("tmux"), reason="tmux is not installed")
FIELDS = ("beta", "learning rate", "epochs", "steps", "batch")


@pytest.fixture
def terminal(tmp_path: Path) -> Iterator[Terminal]:
    environment = {"TERM": "tmux-256color", "LANG": "C.UTF-8", "PATH": os.environ["PATH"], "MIO_LOCAL_PRELOAD": "0",
                   "MIO_LOCAL_CACHE": str(tmp_path / "cache"), "PYTHONPATH": os.pathsep.join(sys.path)}  # fmt: skip
    with Terminal(120, 40, environment) as terminal:
        terminal.type(f"cd {tmp_path} && {sys.executable} -m mio_local.cli --runs {tmp_path / 'runs'}")
        terminal.wait("No runs yet", 60)
        yield terminal


def settings(text: str) -> dict[str, str]:
    """The values of the settings that are on the screen."""
    rows = [re.match(rf"\s*({'|'.join(FIELDS)})\s+(\S+)", row) for row in text.splitlines()]
    return {row.group(1): row.group(2) for row in rows if row}


@pytest.mark.parametrize("between", fast(["\t", "\r"], ["\t"]))
def test_a_burst_of_values_lands_field_by_field(terminal: Terminal, between: str) -> None:
    """From the list of runs to the settings in one write, while both cores are busy."""
    busy = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(2)]
    try:
        values = between.join(("0.3", "2e-4", "2", "50", "8x\x7f\x7f16\x1b[D\x7f2"))
        terminal.keys("n", "F3", "F3", ";", "send-keys", "-l", values)
        terminal.wait(lambda text: settings(text).get("batch") == "26", 60)
    finally:
        for process in busy:
            process.kill()
            process.wait()
    assert settings(terminal.text()) == dict(zip(FIELDS, ("0.3", "2e-4", "2", "50", "26"), strict=True))
