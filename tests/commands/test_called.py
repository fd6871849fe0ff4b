"""The commands that are printed to be typed next work in the shell in which they are printed."""

import importlib.metadata
import json
import os
import shlex
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from mio_local import process
from mio_local.process import installing
from tests.helpers import fakes
from tests.helpers.tui.pseudo_terminal import PtyApp

CTRL_Q = "\x11"
SCRIPT = f"#!{sys.executable}\nimport sys\nfrom mio_local.cli import main\nsys.exit(main())\n"


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A folder with the command in .venv/bin, as pip puts it there, and a run in runs/."""
    command = tmp_path / ".venv/bin/mio-local"
    command.parent.mkdir(parents=True)
    command.write_text(SCRIPT)
    command.chmod(0o755)
    fakes.make_run(tmp_path / "runs", "one", state="done")
    return tmp_path


def ran(place: Path, line: str, path: str = "/usr/bin:/bin") -> subprocess.CompletedProcess[str]:
    """A line that is typed in a shell in `place` which looks for programs in `path`."""
    environment = {**os.environ, "PATH": path, "MIO_LOCAL_RUNS": str(place / "runs")}
    words = ["sh", "-c", line]
    return subprocess.run(words, cwd=place, env=environment, capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.parametrize("typed", [".venv/bin/mio-local", "./.venv/bin/mio-local", "$PWD/.venv/bin/mio-local"])
def test_the_next_step_works_where_the_command_is_not_on_the_path(place: Path, typed: str) -> None:
    """As after `make demo`: the path is the one that was typed, and what is printed can be typed."""
    first = ran(place, f"{typed} runs")
    assert first.returncode == 0, first.stderr
    step = first.stdout.partition("next:\n")[2].splitlines()[0].strip()
    assert step == f"{typed.replace('$PWD', str(place))} show one"
    assert "run one" in ran(place, step).stdout


def test_another_command_of_that_name_on_the_path_is_not_meant(place: Path) -> None:
    other = place / "other/mio-local"
    other.parent.mkdir()
    other.write_text("#!/bin/sh\necho another\n")
    other.chmod(0o755)
    shown = ran(place, ".venv/bin/mio-local runs", path=f"{other.parent}:/usr/bin:/bin").stdout
    assert "\n  .venv/bin/mio-local show one\n" in shown


@pytest.mark.parametrize("typed", ["mio-local", ".venv/bin/mio-local"])
def test_a_name_that_the_path_leads_to_is_enough(place: Path, typed: str) -> None:
    """As in an environment that is activated."""
    shown = ran(place, f"{typed} runs", path=f"{place}/.venv/bin:/usr/bin:/bin").stdout
    assert "\n  mio-local show one\n" in shown


@pytest.mark.slow
def test_a_remedy_names_the_program_likewise_and_a_path_is_left_alone(place: Path) -> None:
    ended = ran(place, ".venv/bin/mio-local show two --runs runs")
    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr.endswith("; .venv/bin/mio-local runs lists them\n")
    ended = ran(place, ".venv/bin/mio-local train '/mio-local runs/x.toml'")
    assert ended.stderr == "mio-local: /mio-local runs/x.toml: no such recipe file\n"


def test_a_folder_with_a_blank_is_quoted(place: Path) -> None:
    spaced = place / "my env"
    (place / ".venv").rename(spaced)
    step = ran(place, "'my env/bin/mio-local' runs").stdout.partition("next:\n")[2].splitlines()[0].strip()
    assert shlex.split(step) == ["my env/bin/mio-local", "show", "one"]


def test_programs_that_came_with_this_one_are_called_beside_it(place: Path) -> None:
    """`python` and `mlx_lm.generate` are not on that PATH either, or are others."""
    code = "import sys; from mio_local.process import program; print(program('python'), program('no-such'))"
    script = place / "bin/mio-local"
    script.parent.mkdir()
    script.write_text(f"#!{sys.executable}\n{code}\n")
    script.chmod(0o755)
    assert ran(place, "bin/mio-local").stdout.split() == [str(Path(sys.executable).with_name("python")), "no-such"]


@pytest.mark.slow
def test_the_apps_parting_words_name_the_program_likewise(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = fakes.make_run(place / "runs", "two", state="training", steps=5)
    monkeypatch.chdir(place)
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    monkeypatch.setenv("MIO_LOCAL_RUNS", str(place / "runs"))
    written: list[str] = []
    with fakes.alive(run), PtyApp(200, 30, ".venv/bin/mio-local") as app:
        app.wait_for("TRAINING")
        feed = app.grid.feed
        app.grid.feed = lambda text: written.append(text) or feed(text)
        app.press(CTRL_Q)
        app.wait_for("Come back any time:  .venv/bin/mio-local ")
        app.press("k")
        app.wait(lambda: "Stop it: " in "".join(written))
    assert "Back: .venv/bin/mio-local   As text: .venv/bin/mio-local watch two " in "".join(written)


def test_an_extra_is_installed_from_the_clone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The name is on no index, or somebody else's there: pip is given the folder, from wherever it is called."""
    root = Path(process.__file__).resolve().parents[1]
    monkeypatch.chdir(root)
    assert (installing("cuda"), installing()) == ("pip install -e '.[cuda]'", "pip install -e .")  # as make installs it
    monkeypatch.chdir(tmp_path)
    assert shlex.split(installing("cuda")) == ["pip", "install", "-e", f"{root}[cuda]"]
    clone = tmp_path / "a clone"
    clone.mkdir()
    (clone / "pyproject.toml").touch()
    packages = tmp_path / "lib/mio_local"
    monkeypatch.setattr(process, "__file__", str(packages / "process.py"))  # not in a clone itself: installed
    told = SimpleNamespace(read_text=lambda name: json.dumps({"url": clone.as_uri(), "dir_info": {}}))
    monkeypatch.setattr(importlib.metadata, "distribution", lambda name: told)
    assert shlex.split(installing("cuda")) == ["pip", "install", f"{clone}[cuda]"]
    (clone / "pyproject.toml").unlink()
    assert installing("cuda") == "pip install '.[cuda]'"
