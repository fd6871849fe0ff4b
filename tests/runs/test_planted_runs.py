"""Run folders of strangers: what they hold is not obeyed, what is planted in them leads nowhere."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from mio_local import cli
from mio_local.errors import MioError, RunError
from mio_local.process import started
from mio_local.runs.directory import Run
from mio_local.runs.events import Event, EventWriter, rewind
from mio_local.runs.lock import holder
from mio_local.storage.writing import write_atomically
from mio_local.training.reopen import reopen
from tests.helpers import fakes
from tests.helpers.fakes import make_run

READ = ("status.json", "run.json", "events.jsonl", "recipe.toml", "control.jsonl")


@pytest.fixture
def planted(folder: Path) -> Run:
    return make_run(folder, "planted", steps=50)


@pytest.fixture
def victim(tmp_path: Path) -> Iterator[Path]:
    """A file outside the run that nothing may touch."""
    file = tmp_path / "victim"
    file.write_text("mine")
    yield file
    assert file.read_text() == "mine"


@pytest.mark.parametrize("name", READ)
@pytest.mark.parametrize("words", [["runs"], ["show", "planted"], ["report", "planted"], ["check", "planted"]])
def test_a_pipe_or_a_device_in_a_run_is_not_waited_for(planted: Run, name: str, words: list[str]) -> None:
    """Else SIGALRM ends these tests."""
    for plant in (os.mkfifo, lambda file: file.symlink_to("/dev/zero")):
        file = planted.path / name
        file.unlink(missing_ok=True)
        plant(file)
        signal.alarm(20)
        with suppress(MioError):
            assert cli.run([*words, "--runs", str(planted.path.parent)]) == 0
        signal.alarm(0)


@pytest.mark.parametrize("name", ["events.jsonl", "control.jsonl", "status.json", "run.lock", "trainer.log", "adapter",
                                  "checkpoints"])  # fmt: skip
def test_a_run_with_links_does_not_go_on(planted: Run, victim: Path, name: str) -> None:
    fakes.set_status(planted, state="stopped")
    place = planted.path / name
    if place.exists():
        place.rename(planted.path.parent / "away")
    place.symlink_to(victim if "." in name else victim.parent)
    with pytest.raises(RunError, match=rf"{name}: is a link, to {victim.parent}"):
        reopen(planted)


@pytest.mark.parametrize("write", [
    lambda file: EventWriter(file).write(Event("step", 1)), lambda file: rewind(file, 0),
    lambda file: write_atomically(file, "x"),
], ids=["append", "rewind", "replace"])  # fmt: skip
def test_what_is_written_follows_no_link(tmp_path: Path, victim: Path, write: Callable[[Path], None]) -> None:
    (tmp_path / "run").mkdir()
    file = tmp_path / "run" / "events.jsonl"
    for link in (file, file.with_name("events.jsonl.new"), file.with_name(f".events.jsonl.{os.getpid()}")):
        link.symlink_to(victim)
    try:
        write(file)
    except OSError as error:
        assert error.filename  # noqa: PT017 - for the one line


def test_the_pid_that_a_stranger_wrote_down_is_not_signalled(planted: Run) -> None:
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"]) as other:
        fakes.set_status(planted, state="training", pid=other.pid)
        said = {"pid": other.pid, "started": started(other.pid)}
        planted.lock.with_suffix(".pid").write_text(json.dumps(said))
        with planted.locked():  # by us, who wrote ourselves down in its place
            planted.lock.with_suffix(".pid").write_text(json.dumps(said))
            assert holder(planted.lock) == 0
        assert other.poll() is None
        other.send_signal(signal.SIGKILL)


def test_a_pipe_in_place_of_the_holders_note_is_not_waited_for(planted: Run) -> None:
    """Else SIGALRM ends these tests."""
    note = planted.lock.with_suffix(".pid")
    with planted.locked():
        note.unlink()
        os.mkfifo(note)
        signal.alarm(20)
        assert holder(planted.lock) == 0
    signal.alarm(0)


def test_what_a_planted_run_asks_for_is_shown_and_not_run(planted: Run, capsys: pytest.CaptureFixture[str]) -> None:
    """Its argv is history, its requests are those of the trainer that has its lock."""
    info = json.loads(planted.info.read_text())
    info.pop("digest", None)
    info["sessions"] = [{"argv": ["mio-local", "train", "--trust-remote-code", "\x1b]0;title\x07"], "pid": 1}]
    planted.info.write_text(json.dumps(info))
    planted.control.write_text('{"id": "1", "command": "__import__(\'os\').abort()"}\n{"id": 2, "command": ["stop"]}\n')
    assert cli.run(["show", "planted", "--runs", str(planted.path.parent)]) == 0
    assert "\x1b" not in capsys.readouterr().out
