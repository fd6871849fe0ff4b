"""What the live screen asks of a trainer, and of the system where there is none."""

import errno
import json
import os
import signal
import subprocess
import sys
import threading

import pytest

from mio_local.errors import RunError
from mio_local.process import started
from mio_local.runs.control import Control
from mio_tui.app import MioApp
from mio_tui.dialogs import Ask
from mio_tui.live import pending_requests
from mio_tui.screens import live
from tests.helpers import fakes
from tests.helpers.tui import live_screen
from tests.helpers.tui.live_screen import opened
from tests.helpers.tui.screens import seen, until

training = live_screen.training


async def test_a_request_is_said_at_once_not_at_the_next_poll(training):
    async with opened(training, poll=60) as (pilot, _):
        await pilot.press("p")
        assert "pausing… finishing step 413" in seen(pilot)


async def test_pause_is_said_then_answered_then_taken_back(training):
    trainer = Control(training.control)
    async with opened(training) as (pilot, _):
        await pilot.press("p")
        await until(pilot, lambda: "pausing… finishing step 413" in seen(pilot))
        ((identity, command),) = trainer.poll()
        assert command == "pause"
        fakes.append(training, {"type": "control", "step": 413, "command": command, "id": identity, "result": "done"})
        fakes.set_status(training, state="paused")
        await until(pilot, lambda: "‖ PAUSED" in seen(pilot) and "pausing…" not in seen(pilot))
        await pilot.press("p")
        assert [command for _, command in trainer.poll()] == ["resume"]
        fakes.set_status(training, state="training")
        await until(pilot, lambda: "● TRAINING" in seen(pilot))
        await pilot.press("p", "p")
        assert [command for _, command in trainer.poll()] == ["pause", "resume"]


@pytest.mark.slow
@pytest.mark.parametrize(("key", "command"), [("w", "checkpoint"), ("g", "sample")])
async def test_a_request_waits_for_its_own_answer(training, key, command):
    trainer = Control(training.control)
    async with opened(training) as (pilot, screen):
        await pilot.press(key)
        ((identity, asked_for),) = trainer.poll()
        assert asked_for == command
        fakes.append(training, {"type": "control", "step": 413, "command": command, "id": "other", "result": "done"})
        await until(pilot, lambda: "other" in screen.reading.answers)
        assert f"{command} asked for… finishing step 413" in seen(pilot)
        fakes.append(training, {"type": "control", "step": 413, "command": command, "id": identity, "result": "done"})
        await until(pilot, lambda: f"{command} asked for" not in seen(pilot))
        assert "✓ " in seen(pilot)


async def test_nothing_is_asked_of_a_trainer_that_looks_at_no_request_any_more(training):
    fakes.set_status(training, state="stopping")
    async with opened(training) as (pilot, _):
        await until(pilot, lambda: "x Stop" in seen(pilot) and "p Pause" not in seen(pilot))
        await pilot.press("p", "g", "w")
        assert fakes.requests(training) == []


async def test_stop_asks_first(training):
    trainer = Control(training.control)
    async with opened(training) as (pilot, _):
        await pilot.press("x")
        await until(pilot, lambda: isinstance(pilot.app.screen, Ask))
        await pilot.press("escape")
        assert trainer.poll() == []
        await pilot.press("x")
        await until(pilot, lambda: isinstance(pilot.app.screen, Ask))
        await pilot.press("s")
        await until(pilot, lambda: "stopping… finishing step 413" in seen(pilot))
        assert [command for _, command in trainer.poll()] == ["stop"]
        fakes.set_status(training, state="stopped", reason="asked to stop")
        await until(pilot, lambda: "■ STOPPED" in seen(pilot) and "stopping…" not in seen(pilot))


async def test_a_full_disk_is_said(training, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("mio_local.runs.control.append", full)
    async with opened(training) as (pilot, _):
        await pilot.press("p")
        await until(pilot, lambda: "No space left on device" in seen(pilot))


HOLDER = """
import signal, sys, time
from pathlib import Path
from mio_local.runs.lock import held
with held(Path(sys.argv[1])):
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    print("held", flush=True)
    time.sleep(60)
"""


async def test_a_deaf_trainer_is_killed_only_when_asked(tmp_path, monkeypatch):
    run = fakes.make_run(tmp_path, "mio-run", state="training", steps=412)
    trainer = subprocess.Popen([sys.executable, "-c", HOLDER, str(run.lock)], stdout=subprocess.PIPE)
    try:
        assert trainer.stdout.readline() == b"held\n"
        async with opened(run) as (pilot, _):
            await pilot.press("x")
            await until(pilot, lambda: isinstance(pilot.app.screen, Ask))
            assert "SIGKILL" not in seen(pilot)  # nothing was asked yet
            await pilot.press("s")
            monkeypatch.setattr(pending_requests, "PATIENCE", 0.0)
            await until(pilot, lambda: "no answer for" in seen(pilot))
            assert trainer.poll() is None
            await pilot.press("x")
            await until(pilot, lambda: isinstance(pilot.app.screen, Ask))
            await pilot.press("t")
            await until(pilot, lambda: f"process {trainer.pid} was asked to end" in seen(pilot))
            assert trainer.poll() is None
            await pilot.press("x")
            await until(pilot, lambda: isinstance(pilot.app.screen, Ask))
            await pilot.press("9")
            assert trainer.wait(5) == -signal.SIGKILL
            await until(pilot, lambda: "? LOST" in seen(pilot), seconds=3)
    finally:
        trainer.kill()
        trainer.stdout.close()
        trainer.wait()


async def test_force_touches_nobody_when_the_lock_is_free(tmp_path):
    run = fakes.make_run(tmp_path, "mio-run", state="training", steps=412, pid=os.getpid())
    assert live.force(run, "kill") == "it has ended by itself"


@pytest.mark.parametrize("planted", ["status", "lock", "other start"])
async def test_force_touches_nobody_whom_a_file_alone_names(tmp_path, planted):
    """Another process has the lock than the one that the run's files name."""
    run = fakes.make_run(tmp_path, "mio-run", state="training", steps=412)
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"]) as bystander:
        try:
            fakes.set_status(run, pid=bystander.pid)
            since = started(bystander.pid) if planted == "lock" else "1"
            if planted != "status":
                run.lock.with_suffix(".pid").write_text(json.dumps({"pid": bystander.pid, "started": since}))
            with fakes.alive(run):
                assert "none is sent a signal" in live.force(run, "kill")
            assert bystander.poll() is None
        finally:
            bystander.kill()




async def test_resume_says_starting_at_once_and_why_not(tmp_path, monkeypatch):
    run = fakes.make_run(tmp_path, "mio-run", state="stopped", steps=412)
    launched = []
    seen_starting = threading.Event()

    def slow(queue):
        launched.extend(queue)
        seen_starting.wait(10)
        raise RunError("run mio-run is already [red]training[/INST]")

    monkeypatch.setattr(live, "launch", slow)
    async with opened(run) as (pilot, _):
        assert "r Resume" in seen(pilot)
        await pilot.press("r")
        await until(pilot, lambda: "◌ STARTING" in seen(pilot))
        seen_starting.set()
        await until(pilot, lambda: "it was not resumed: run mio-run is already [red]training[/INST]" in seen(pilot))
        assert "■ STOPPED" in seen(pilot)
        assert [queued.path for queued in launched] == [run.path]


async def test_a_queued_run_is_started_only_after_a_question(tmp_path, monkeypatch):
    run = fakes.make_run(tmp_path, "mio-run", state="queued", steps=0, stream=[])
    launched = []
    monkeypatch.setattr(live, "launch", launched.extend)
    async with opened(run) as (pilot, _):
        await pilot.press("r")
        await until(pilot, lambda: isinstance(pilot.app.screen, Ask))
        assert launched == []
        await pilot.press("s")
        await until(pilot, lambda: len(launched) == 1)


async def test_compare_takes_the_newest_other_run_of_the_same_model(tmp_path, monkeypatch):
    run = fakes.make_run(tmp_path, "mio-run")
    asked_for = []
    monkeypatch.setattr(MioApp, "compare", lambda app, chosen: asked_for.append([one.name for one in chosen]))
    async with opened(run) as (pilot, _):
        fakes.make_run(tmp_path, "elsewhere", model="another/model")
        await pilot.press("c")
        await until(pilot, lambda: "there is no other run of this model and data yet" in seen(pilot))
        for age, name in enumerate(("new", "old")):
            other = fakes.make_run(tmp_path, name, loss="dpo")
            os.utime(other.recipe, (fakes.NOW - age, fakes.NOW - age))
        await pilot.press("c")
        await until(pilot, lambda: asked_for == [["mio-run", "new"]])
