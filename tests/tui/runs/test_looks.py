"""How the list of runs looks in each state, small and large, dark, light and without colours."""

import contextlib
from pathlib import Path

import pytest

from mio_tui import formatting
from mio_tui.app import MioApp
from mio_tui.screens.run_list import RunsScreen
from tests.helpers import fakes
from tests.helpers.tui.runs_screen import LIVE, SIGNS
from tests.helpers.tui.screens import Looks, look, screen_text, until

SIZES = ((80, 24), pytest.param((140, 45), marks=pytest.mark.slow))


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder of runs whose path is the same everywhere, a clock that stands, and one theme."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(formatting, "now", lambda: fakes.NOW)
    monkeypatch.setenv("MIO_LOCAL_THEME", "mio-dark")
    monkeypatch.setenv("MIO_LOCAL_RUNS", "runs")
    return Path("runs")


@pytest.fixture
def picture(folder, snapshot):
    """A function that opens the list, presses keys and compares the screen."""

    async def picture(size, rows, *keys, theme=""):
        app = MioApp(folder)
        async with app.run_test(size=size) as pilot:
            await until(pilot, lambda: isinstance(app.screen, RunsScreen) and app.screen.rows is not None)
            if theme:
                app.theme = theme
            await until(pilot, lambda: len(app.screen.table.rows) == rows)
            if rows and size[0] > 110:  # the highlighted run is drawn beside the list
                await until(pilot, lambda: "held out, step" in "\n".join(screen_text(app)))
            await pilot.pause(0.5)
            for key in keys:
                await pilot.press(key)
                await pilot.pause(0.3)
            assert look(app) == snapshot(extension_class=Looks)

    return picture


@pytest.fixture
def filled(folder):
    """One run in every state."""
    with contextlib.ExitStack() as stack:
        for index, state in enumerate(SIGNS):
            loss = ("mio", "dpo")[index % 2]
            reason = "MLX ran out of memory" if state == "failed" else ""
            held = "training" if state == "lost" else state
            run = fakes.make_run(folder, f"qwen3-{loss}-{state}", held, 412, loss, reason=reason)
            if state in LIVE:
                stack.enter_context(fakes.alive(run))
        yield len(SIGNS)


@pytest.mark.parametrize("size", SIZES)
async def test_filled(filled, picture, size):
    await picture(size, filled, "space", "down", "space")


@pytest.mark.parametrize("size", SIZES)
async def test_filled_without_colours(filled, picture, size, monkeypatch):
    monkeypatch.setenv("NO_COLOR", "1")
    await picture(size, filled)


async def test_filled_in_the_light_theme(filled, picture):
    await picture((140, 45), filled, theme="mio-light")


@pytest.mark.parametrize("size", SIZES)
async def test_empty(picture, size):
    await picture(size, 0)


@pytest.mark.parametrize("size", SIZES)
async def test_a_damaged_run(folder, picture, size):
    fakes.make_run(folder, "whole", steps=412)
    fakes.make_run(folder, "broken", steps=412).status.write_text("{")
    await picture(size, 2, "s", "s")


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("key", ["question_mark", "q"])
async def test_help_and_the_quit_question(filled, picture, size, key):
    await picture(size, filled, key)


@pytest.mark.slow
@pytest.mark.parametrize("size", SIZES)
async def test_the_delete_question(filled, picture, size, monkeypatch):
    monkeypatch.setattr("mio_local.runs.trash.size", lambda place: 12_300_000)
    await picture(size, filled, "end", *["down"] * 9, "d")
