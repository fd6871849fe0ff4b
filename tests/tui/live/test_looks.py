"""How the live screen looks in each state, small and large, dark, light and without colours."""

import contextlib
import time
from pathlib import Path

import pytest

from mio_tui import formatting
from mio_tui.live import reading
from tests.helpers import fakes
from tests.helpers.tui import fake_rounds
from tests.helpers.tui.live_screen import opened
from tests.helpers.tui.screens import Looks, look, screen_text, until

SIZES = ((80, 24), pytest.param((140, 45), marks=pytest.mark.slow))
THEN = fakes.NOW - 3600 + 207  # a second after step 412


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder of runs whose path is the same everywhere, a clock that stands, and one theme."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MIO_LOCAL_RUNS", "runs")
    monkeypatch.setattr(formatting, "now", lambda: THEN)
    monkeypatch.setattr("mio_tui.live.view.HOST", 3600.0)  # no figures of this machine
    monkeypatch.setenv("MIO_LOCAL_THEME", "mio-dark")
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    yield Path("runs")
    monkeypatch.delenv("TZ")
    time.tzset()


@pytest.fixture
def picture(folder, snapshot):
    """A function that opens a run, waits for the words and compares the screen."""

    async def picture(run, size, words, *keys, live=True, theme=""):
        with fakes.alive(run) if live else contextlib.nullcontext():
            async with opened(run, size=size) as (pilot, screen):
                if theme:
                    pilot.app.theme = theme
                await until(pilot, lambda: words in "\n".join(screen_text(pilot.app)))
                for key in keys:
                    await pilot.press(key)
                await pilot.pause(0.15)
                await until(pilot, lambda: not screen.working)
                assert look(pilot.app) == snapshot(extension_class=Looks)

    return picture


def at_412(folder, **status):
    return fakes.make_run(folder, "qwen3-mio", state="training", steps=412, **status)


@pytest.mark.parametrize("size", SIZES)
async def test_training(folder, picture, size):
    await picture(at_412(folder), size, "chosen +")


@pytest.mark.parametrize("size", SIZES)
async def test_training_without_colours(folder, picture, size, monkeypatch):
    monkeypatch.setenv("NO_COLOR", "1")
    await picture(at_412(folder), size, "chosen +")


async def test_training_in_the_light_theme(folder, picture):
    await picture(at_412(folder), (140, 45), "chosen +", theme="mio-light")


async def test_training_before_the_first_step(folder, picture):
    run = fakes.make_run(folder, "qwen3-mio", state="training", steps=0, stream=list(fakes.events(0))[:1])
    await picture(run, (80, 24), "first point after step 1")


@pytest.mark.parametrize("size", SIZES)
async def test_starting(folder, picture, size):
    run = fakes.make_run(folder, "qwen3-mio", state="starting", steps=0, stream=[])
    fakes.set_status(run, doing="tokenising", done=1240, total=2000, time=THEN - 12)
    run.log.write_text("10:00:00 importing\n10:00:04 tokenising\n")
    await picture(run, size, "tokenising 1,240/2,000", "8")


async def test_evaluating_with_a_pause_asked_for(folder, picture):
    run = at_412(folder)
    fakes.set_status(run, doing="scoring held-out pairs", done=40, total=100)
    await picture(run, (80, 24), "chosen +", "p")


async def test_paused(folder, picture):
    run = at_412(folder)
    fakes.set_status(run, state="paused")
    await picture(run, (80, 24), "chosen +")


@pytest.mark.parametrize("size", SIZES)
async def test_failed(folder, picture, size):
    reason = "MLX ran out of memory: 31.2 GB asked for"
    run = fakes.make_run(folder, "llama-mio", state="failed", steps=3, reason=reason)
    run.log.write_text("Traceback (most recent call last):\n  …\nMemoryError\n")
    await picture(run, size, "chosen +", "8", live=False)


async def test_lost(folder, picture):
    await picture(at_412(folder), (80, 24), "chosen +", live=False)


async def test_done(folder, picture):
    run = fakes.make_run(folder, "qwen3-mio", reason="all steps done")
    run.adapter.mkdir()
    await picture(run, (140, 45), "chosen +", live=False)


async def test_damaged(folder, picture):
    run = fakes.make_run(folder, "qwen3-mio", steps=60)
    run.status.write_text("{")
    run.recipe.write_text("[loss]\nbeta = 0\n")
    await picture(run, (80, 24), "cannot be drawn", live=False)


async def test_a_recent_warning_and_a_crosshair(folder, picture):
    stream = list(fakes.events(412))
    words = "held-out chosen answers have been less likely than under the reference for 3 evaluations"
    when = stream[-1]["time"]
    stream.append({"type": "note", "step": 400, "time": when, "level": "warning", "code": "below", "text": words})
    run = fakes.make_run(folder, "qwen3-dpo", state="training", steps=412, loss="dpo", stream=stream)
    await picture(run, (140, 45), "chosen +", "left", "left", "left")


@pytest.mark.parametrize("key", ["2", "5", "6", "7"])
async def test_one_panel(folder, picture, key):
    await picture(at_412(folder), (80, 24), "chosen +", key)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("keys", ["", "6"])
async def test_rounds(folder, picture, size, keys):
    run = fakes.make_run(folder, "qwen3-rounds", state="training", steps=180, total=400,
                         stream=list(fake_rounds.events(180)))  # fmt: skip
    await picture(run, size, "held out 0.45", *keys)


async def test_no_note_is_news_for_long(folder):
    run = fakes.make_run(folder, "qwen3-mio", steps=412, stream=list(fakes.events(412)))
    fakes.append(run, {"type": "note", "step": 0, "time": fakes.NOW - 3600, "level": "error", "text": "old"})
    async with opened(run) as (pilot, screen):
        assert screen.reading.note["text"] == "old"
        fakes.append(run, fakes.step_event(413) | {"time": fakes.NOW - 3600 + reading.RECENT + 1})
        fakes.set_status(run, step=413)
        await until(pilot, lambda: screen.reading.note == {})
