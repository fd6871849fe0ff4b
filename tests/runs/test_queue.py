"""Runs in line, each waiting in a process of its own: what becomes of the line when one of those ends in any way."""

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from mio_local import cli
from mio_local.errors import RunError
from mio_local.runs.directory import Run
from mio_local.runs.launch import launch
from mio_local.runs.lock import holder
from mio_local.runs.queue import busy, last_in_line, left, waiting
from mio_local.runs.summary import NOBODY, row_of
from tests.helpers import fakes
from tests.runs.background import COMMAND, Make, ended, killed, of_type, state, until

pytest.importorskip("mlx.core")
LONG = 100_000  # steps, which no test sees the end of


def names(runs: list[Run]) -> list[str]:
    return [run.name for run in runs]


def waits(run: Run) -> bool:
    """Whether its own process has it in line by now."""
    status = run.read_status()
    return status["waits"] and 0 < holder(run.lock) == status["pid"]


def cpu_seconds(pid: int) -> float:
    """utime and stime, proc(5)."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def began(run: Run) -> float:
    return of_type(run, "started")[0]["time"]


@pytest.mark.slow
def test_three_in_line_the_first_of_which_is_killed(make: Make, runs_home: Path) -> None:
    """The second begins where the first is lost, the third where the second is done; put in line in another order."""
    first, second, third = make("a", steps=LONG), make("b"), make("c")
    assert launch([third], after=second) == "b"  # which was not put in line itself yet
    assert launch([second], after=first) == "a"
    launch([first])
    until(lambda: state(first) == "training" and waits(second) and waits(third))
    assert names(busy(runs_home)) == ["a", "b", "c"]
    assert names(waiting(runs_home)) == ["b", "c"]
    assert [row_of(run).note for run in (second, third)] == ["after a", "after b"]
    assert [row_of(run).after for run in (first, second, third)] == ["", "a", "b"]
    assert killed(first)
    assert state(first) == "lost"
    assert ended(second) == ended(third) == "done"
    finished = of_type(second, "finished")[0]["time"]
    assert began(second) < finished < began(third)
    assert busy(runs_home) == []
    assert last_in_line(runs_home) is None


@pytest.mark.slow
def test_who_waits_is_killed_and_the_line_goes_on_by_hand(
    make: Make, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What waits behind it goes on waiting for what it waited for; it is put back behind all others."""
    first = fakes.make_run(folder, "a", "training")
    second, third = make("b"), make("c")
    with fakes.alive(first):
        launch([second], after=first)
        launch([third], after=second)
        until(lambda: waits(second) and waits(third))
        assert killed(second)
        assert row_of(second).note == NOBODY
        assert row_of(second).after == ""
        until(lambda: row_of(third).after == "a")
        assert left(folder) == [[second]]
        assert cli.run(["show", "b"]) == 0
        assert NOBODY in capsys.readouterr().out
        assert cli.run(["resume", "--all"]) == 0
        assert "b: once c is over" in capsys.readouterr().out
        assert names(waiting(folder)) == ["c", "b"]
    assert ended(third) == ended(second) == "done"
    assert began(third) < began(second)


def test_stop_while_it_waits(make: Make, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It leaves the line; the one behind it waits for what is ahead; a request to go on lets it begin at once."""
    first = fakes.make_run(folder, "a", "training")
    second, third = make("b", steps=LONG), make("c")
    with fakes.alive(first):
        launch([second], after=first)
        launch([third], after=first)  # behind what waits for it already
        assert names(waiting(folder)) == ["b", "c"]
        assert cli.run(["stop", "b"]) == 0
        assert "b leaves the line" in capsys.readouterr().out
        assert ended(second) == "stopped"
        until(lambda: row_of(third).after == "a")
        assert not of_type(second, "started")
        assert cli.run(["resume", "b", "--after", "a"]) == 0
        assert "b goes on in the background once c is over" in capsys.readouterr().out
        with pytest.raises(RunError, match="run b waits for c; take it out of the line first: mio-local stop b"):
            launch([second], after=first)
        assert cli.run(["resume", "b"]) == 0  # now, beside the others
        until(lambda: state(second) == "training")
        assert waits(third)
        assert killed(second)


@pytest.mark.slow
def test_a_reboot_leaves_a_line_that_goes_on_in_its_order(
    make: Make, runs_home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first, second, third = (make(name, save_every=2, steps=400) for name in "abc")
    launch([first])
    launch([third], after=first)
    launch([second], after=third)
    until(lambda: of_type(first, "checkpoint") and waits(second) and waits(third))
    for run in (second, third, first):
        assert killed(run)
    assert [state(run) for run in (first, second, third)] == ["lost", "queued", "queued"]
    assert left(runs_home) == [[first], [third], [second]]
    assert cli.run(["resume", "--all"]) == 0
    assert "a: now\nc: once a is over\nb: once c is over\n" in capsys.readouterr().out
    until(lambda: state(first) == "training")
    assert left(runs_home) == []
    assert names(busy(runs_home)) == ["a", "c", "b"]


@pytest.mark.slow
def test_a_shutdown_leaves_who_waits_in_line(make: Make, folder: Path) -> None:
    first, second = fakes.make_run(folder, "a", "training"), make("b")
    with fakes.alive(first):
        launch([second], after=first)
        until(lambda: waits(second))
        os.kill(holder(second.lock), signal.SIGTERM)
        assert ended(second) == "queued"
        assert left(folder) == [[second]]
    fakes.set_status(first, state="done")
    assert cli.run(["resume", "--all"]) == 0
    assert ended(second) == "done"


@pytest.mark.slow
def test_waiting_costs_next_to_nothing(make: Make, folder: Path) -> None:
    first, second = fakes.make_run(folder, "a", "training"), make("b")
    with fakes.alive(first):
        launch([second], after=first)
        until(lambda: waits(second))
        pid = holder(second.lock)
        before = cpu_seconds(pid), time.monotonic()
        time.sleep(4)
        used, passed = cpu_seconds(pid) - before[0], time.monotonic() - before[1]
        assert used / passed < 0.01
        assert waits(second)


@pytest.mark.slow
def test_what_is_ahead_may_be_deleted_or_trained_by_a_terminal(
    make: Make, runs_home: Path, tiny_model: Path, tiny_pairs: Path
) -> None:
    """`mio-local train` in the foreground holds the line as well; its warning names the run to wait for."""
    words = ["--model", tiny_model, "--data", tiny_pairs, "--backend", "mlx", "--device", "cpu", "--runs", runs_home,
             "--set", "eval.sample_tokens=0"]  # fmt: skip
    own = [*COMMAND, "train", *map(str, words)]
    first = Run(runs_home / "a")
    with subprocess.Popen([*own, "--steps", str(LONG), "--name", "a"], stdout=subprocess.DEVNULL) as terminal:
        until(lambda: first.exists() and state(first) == "training")
        assert cli.run([*own[3:], "--steps", "2", "--name", "b", "--after", "a"]) == 0
        second, third = Run(runs_home / "b"), make("c")
        launch([third], after=second)
        until(lambda: waits(second) and waits(third))
        shutil.rmtree(second.path)
        until(lambda: row_of(third).after == "a")
        beside = subprocess.run([*own, "--steps", "1", "--name", "d"], capture_output=True, text=True, check=True)
        assert beside.stdout.startswith("! a trains here now: each will be slower, or lack memory; to wait for that: "
                                        "--after c\n")  # fmt: skip
        terminal.send_signal(signal.SIGINT)
        assert terminal.wait(60) == 0
    assert ended(third) == "done"


def test_runs_that_would_wait_for_one_another_are_refused(make: Make, folder: Path, tmp_path: Path) -> None:
    first, second, third = make("a"), make("b"), make("c")
    launch([third], after=second)
    launch([second], after=first)
    for ahead in (first, second, third):
        with pytest.raises(RunError, match=f"run a cannot wait for {ahead.name}, which would wait for it"):
            launch([first], after=ahead)
    assert first.read_status()["state"] == "queued"
    with pytest.raises(RunError, match="that is no run of"):
        launch([first], after=fakes.make_run(tmp_path / "other", "x"))
    assert names(waiting(folder)) == ["b", "c"]  # behind a, which did not begin


@pytest.mark.slow
def test_who_watches_a_run_waits_with_it(make: Make, folder: Path, mistake: Callable[..., str]) -> None:
    first, second = fakes.make_run(folder, "a", "training"), make("b")
    with fakes.alive(first):
        launch([second], after=first)
        until(lambda: waits(second))
        assert "run b waits for a, so there is nothing to pause" in mistake("pause", "b")
        watch = subprocess.Popen([*COMMAND, "watch", "b"], stdout=subprocess.PIPE, text=True)
        assert watch.stdout
        assert watch.stdout.readline() == "run b: queued 1st in line, after a, mio on tiny-llama\n"
    said = watch.communicate(timeout=60)[0]
    assert watch.returncode == 0
    assert "4/4 held out" in said
    assert f"done at step 4: {second.path}" in said
