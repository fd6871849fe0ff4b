"""The app as its user has it: in a real terminal, by keys alone, with real trainers behind it."""

import os
import re
import shutil
import sys
from pathlib import Path

import pytest

from mio_local.runs.directory import Run
from tests.helpers.tui.terminal import Terminal

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not shutil.which("tmux"), reason="tmux is not installed"),
]
BRAILLE = re.compile("[\u2801-\u28ff]")


def step(text: str) -> int:
    """The step that the live screen shows; -1 where there is none."""
    found = re.search(r"step (\d+)/\d+", text)
    return int(found.group(1)) if found else -1


@pytest.mark.parametrize(("width", "height"), [(80, 24), (140, 45)])
def test_demo_from_the_empty_state_to_the_export(tmp_path: Path, width: int, height: int) -> None:
    folder = tmp_path / "runs"
    mio, dpo = Run(folder / "demo-mio"), Run(folder / "demo-dpo")
    app = f"{sys.executable} -m mio_local.cli --runs {folder}"
    environment = {"TERM": "tmux-256color", "PS1": "$ ", "LANG": "C.UTF-8", "OPENBLAS_NUM_THREADS": "1"}
    environment |= {"PATH": os.environ["PATH"], "MIO_LOCAL_PRELOAD": "1"}  # with the fast BLAS, as a user has it
    with Terminal(width, height, environment) as terminal:
        terminal.type(f"cd {tmp_path} && {app}")
        terminal.wait("No runs yet")

        terminal.keys("d")
        terminal.wait("STARTING")
        text = terminal.wait(lambda text: step(text) >= 2, 180)
        assert "TRAINING" in text
        assert BRAILLE.search(text)
        terminal.keys("p")
        text = terminal.wait("PAUSED")
        paused = step(text)
        assert step(terminal.wait(lambda text: step(text) >= 0)) == paused
        terminal.keys("p")
        terminal.wait(lambda text: "TRAINING" in text and step(text) > paused)

        terminal.keys("C-q")
        terminal.wait("Quit?")
        terminal.keys("k")
        terminal.wait("keeps training")
        assert mio.is_locked()
        terminal.keys("C-l")
        terminal.type(app)
        terminal.wait(lambda text: "TRAINING" in text and "demo-mio" in text and step(text) >= 21, 120)

        terminal.keys("x")
        terminal.wait("Stop and save")
        terminal.keys("Enter")
        terminal.wait("STOPPED", 60)
        assert (mio.adapter / "adapters.safetensors").exists()
        assert mio.last_step() > paused

        terminal.keys("Escape")
        terminal.wait("mio-local   runs 2   ◌ 1 queued")
        terminal.keys("/", "d", "p", "o", "Enter")  # as the list's order changes with the states
        terminal.wait("runs 1 of 2")
        terminal.keys("r")
        terminal.wait(lambda text: "TRAINING" in text and "demo-dpo" in text and step(text) >= 21, 180)
        terminal.keys("x")
        terminal.wait("Stop and save")
        terminal.keys("Enter")
        terminal.wait("STOPPED", 60)
        assert dpo.read_status()["state"] == "stopped"

        terminal.keys("Escape")
        terminal.wait("runs 1 of 2")
        terminal.keys("Escape")
        terminal.wait("mio-local   runs 2")
        terminal.keys("Home", "Space", "Down", "Space")
        terminal.wait(lambda text: sum("▸" in line for line in text.splitlines() if "demo-" in line) == 2)
        terminal.keys("c")
        text = terminal.wait("A − B")
        assert "demo-mio" in text
        assert "demo-dpo" in text
        terminal.keys("e")
        terminal.wait("CSV")
        terminal.keys("b")
        terminal.wait(lambda text: list(tmp_path.glob("compare-*.png")) and list(tmp_path.glob("compare-*.csv")), 40)
        terminal.keys("Escape")
        terminal.wait("mio-local   runs 2")
        terminal.keys("q")
        terminal.wait(lambda text: text.rstrip().endswith("$"))
