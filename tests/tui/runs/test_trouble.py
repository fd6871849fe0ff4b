"""The list of runs where something refuses: requests, folders, deletions, themes; and the app's exit code."""

import argparse
import os

import pytest

from mio_local import cli
from mio_local.errors import RecipeError
from mio_local.runs.directory import list_runs
from mio_tui.app import MioApp
from mio_tui.dialogs import Ask
from tests.helpers import fakes
from tests.helpers.tui.runs_screen import listed, row
from tests.helpers.tui.screens import seen, until


def told(pilot):
    """What was said in passing."""
    return "\n".join(toast.message for toast in pilot.app._notifications)


def deaf(run):
    """No request can be written to it."""
    run.control.unlink()
    run.control.mkdir()


async def test_a_stop_that_cannot_be_asked_for_keeps_the_app_and_asks_the_others(folder):
    first, second = (fakes.make_run(folder, name, "training", steps=50) for name in ("first", "second"))
    deaf(second)
    with fakes.alive(first), fakes.alive(second):
        async with listed(folder, rows=2) as (pilot, screen):
            await pilot.press("q")
            await until(pilot, lambda: isinstance(pilot.app.screen, Ask))
            await pilot.press("s")
            await until(pilot, lambda: "second could not be asked to stop: Is a directory" in told(pilot))
            assert pilot.app.screen is screen
            assert fakes.requests(first) == ["stop"]


async def test_a_paused_run_that_cannot_be_asked_to_go_on_says_so(folder):
    run = fakes.make_run(folder, "waits", "paused", steps=50)
    deaf(run)
    with fakes.alive(run):
        async with listed(folder, rows=1) as (pilot, screen):
            await pilot.press("r")
            await until(pilot, lambda: "waits could not be asked to resume: Is a directory" in told(pilot))
            assert pilot.app.screen is screen


async def test_the_parting_words_name_the_folder(folder):
    run = fakes.make_run(folder, "busy", "training", steps=50)
    with fakes.alive(run):
        async with listed(folder, rows=1) as (pilot, _):
            await pilot.press("q", "k")
        said = pilot.app.return_value
    assert f"mio-local --runs {folder} " in said
    assert f"mio-local watch busy --runs {folder}" in said


async def test_a_folder_that_cannot_be_listed(folder, monkeypatch):
    fakes.make_run(folder, "one", steps=50)
    whole, shut = os.listdir, [True]

    def refuse(path="."):
        if path == folder and shut:
            raise PermissionError(13, "Permission denied")
        return whole(path)

    monkeypatch.setattr(os, "listdir", refuse)
    app = MioApp(folder)
    async with app.run_test(size=(100, 30), notifications=True) as pilot:
        await until(pilot, lambda: "cannot be read: Permission denied" in told(pilot))
        await until(pilot, lambda: f"{folder}: cannot be read" in seen(pilot).splitlines()[0])
        shut.clear()
        await until(pilot, lambda: "one" in seen(pilot) and "runs 1" in seen(pilot))
        shut.append(True)
        await pilot.press("q")
    assert "cannot be read: Permission denied; what trains there goes on" in app.return_value


async def test_a_demo_that_cannot_be_started_leaves_nothing(folder, monkeypatch):
    def full(queue, **_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("mio_tui.new.begin.launch", full)
    async with listed(folder) as (pilot, screen):
        await pilot.press("d")
        await until(pilot, lambda: "No space left on device" in seen(pilot))
        assert list_runs(folder) == []
        assert pilot.app.screen is screen


async def test_a_path_that_is_no_text_is_not_copied(folder):
    fakes.make_run(folder, "b\udcffd", steps=50)
    async with listed(folder, rows=1) as (pilot, _):
        await pilot.press("y")
        await until(pilot, lambda: "not copied, as this name is no text" in told(pilot))


async def test_the_small_screen_and_the_table_follow_the_run(folder):
    run = fakes.make_run(folder, "busy", "training", steps=50)
    with fakes.alive(run):
        async with listed(folder, (100, 30), 1) as (pilot, _):
            await pilot.resize_terminal(40, 10)
            await until(pilot, lambda: "busy 50/1000" in seen(pilot))
            fakes.set_status(run, step=51)
            await until(pilot, lambda: "busy 51/1000" in seen(pilot))
            await pilot.resize_terminal(100, 30)
            await until(pilot, lambda: "busy" in seen(pilot) and "too small" not in seen(pilot))
            await until(pilot, lambda: "51/1000" in row(pilot, "busy"))


async def test_the_table_takes_the_theme_at_once(folder):
    fakes.make_run(folder, "one", "lost", steps=50)
    async with listed(folder, rows=1) as (pilot, screen):
        def colour():
            return screen.table.render_line(1)._segments[1].style.color.name

        before = colour()
        await pilot.press("ctrl+t")
        await until(pilot, lambda: colour() != before, 0.5)
        await pilot.press("ctrl+t")
        await until(pilot, lambda: colour() == before, 0.5)


def test_a_theme_that_is_not_there_is_named(folder, monkeypatch):
    monkeypatch.setenv("MIO_LOCAL_THEME", "dark")
    with pytest.raises(RecipeError, match=r"MIO_LOCAL_THEME dark: no such theme .*there are: .*mio-dark, mio-light"):
        MioApp(folder)
    monkeypatch.setenv("MIO_LOCAL_THEME", "")
    assert MioApp(folder).theme == "mio-dark"


@pytest.mark.parametrize("code", [0, 1])
def test_the_exit_code_is_the_apps(folder, monkeypatch, code):
    fakes.stand_in_app(monkeypatch, code)
    assert cli.open_app(argparse.Namespace(command=None, runs=str(folder))) == code
