"""The list of runs through what happens to runs: starts, deaths, odd files, the end of the app."""

import contextlib
import json

import pytest
from rich.cells import cell_len

from mio_tui import formatting
from mio_tui.dialogs import Ask
from mio_tui.runs.run_columns import COLUMNS, Order
from mio_tui.screens.live import LiveScreen
from tests.helpers import fakes
from tests.helpers.tui import screens
from tests.helpers.tui.runs_screen import BROKEN, HOSTILE, go, listed, names, row
from tests.helpers.tui.screens import seen, until


async def test_the_empty_state_starts_the_demo(folder, launched):
    async with listed(folder) as (pilot, _):
        await until(pilot, lambda: "No runs yet" in seen(pilot) and "d Demo run" in seen(pilot))
        await pilot.press("space", "c", "r", "s", "slash", "e", "y")
        assert not launched
        assert "No runs yet" in seen(pilot)
        await pilot.press("d")
        await until(pilot, lambda: isinstance(pilot.app.screen, LiveScreen))
        assert launched == [["demo-mio", "demo-dpo"]]
        assert sorted(entry.name for entry in folder.iterdir()) == ["demo-dpo", "demo-mio"]


async def test_the_first_run_that_appears_can_be_opened_at_once(folder):
    async with listed(folder) as (pilot, screen):
        await until(pilot, lambda: "No runs yet" in seen(pilot))
        fakes.make_run(folder, "new", steps=50)
        await until(pilot, lambda: names(screen) == ["new"], 3)
        fakes.make_run(folder, "newer", steps=50)
        await until(pilot, lambda: set(names(screen)) == {"new", "newer"}, 3)
        assert screen.table.highlighted == "new"  # the cursor stays on its run
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(pilot.app.screen, LiveScreen))
        assert pilot.app.screen.watched.run.name == "new"


@pytest.mark.slow
async def test_the_keys_of_an_empty_list_that_got_a_run(folder):
    async with listed(folder) as (pilot, screen):
        run = fakes.make_run(folder, "new", steps=50)
        await until(pilot, lambda: names(screen) == ["new"], 3)
        await until(pilot, lambda: "c Compare" in seen(pilot))
        await pilot.press("d")
        await until(pilot, lambda: isinstance(pilot.app.screen, Ask))
        await pilot.press("d")
        await until(pilot, lambda: "No runs yet" in seen(pilot))
        assert not run.exists()
        assert "d Demo run" in seen(pilot)


async def test_resume(folder, launched):
    paused = fakes.make_run(folder, "waits", state="paused", steps=50)
    fakes.make_run(folder, "halted", state="stopped", steps=50)
    fakes.make_run(folder, "ended", state="done", steps=50)
    with fakes.alive(paused):
        async with listed(folder, rows=3) as (pilot, screen):
            await go(pilot, screen, "ended")
            await pilot.press("r")
            await until(pilot, lambda: "ended is done: nothing to resume" in seen(pilot))
            assert pilot.app.screen is screen
            for name in ("waits", "halted"):
                await go(pilot, screen, name)
                await pilot.press("r")
                await until(pilot, lambda: isinstance(pilot.app.screen, LiveScreen))
                assert pilot.app.screen.watched.run.name == name
                await pilot.press("escape")
                await until(pilot, lambda: pilot.app.screen is screen)
            assert fakes.requests(paused) == ["resume"]
            assert launched == [["halted"]]


async def test_a_run_whose_trainer_dies_is_soon_lost(folder):
    run = fakes.make_run(folder, "brief", state="training", steps=50)
    fakes.make_run(folder, "other", steps=50)
    with contextlib.ExitStack() as stack:
        stack.enter_context(fakes.alive(run))
        async with listed(folder, rows=2) as (pilot, screen):
            assert "●" in row(pilot, "brief")
            stack.close()
            await until(pilot, lambda: "?" in row(pilot, "brief"), 3)
            assert screen.state(run) == "lost"


@pytest.mark.parametrize("size", [(80, 24), pytest.param((140, 45), marks=pytest.mark.slow)])
async def test_hostile_words_are_only_words(folder, size, launched):
    for index, words in enumerate(HOSTILE):
        run = fakes.make_run(folder, f"run-{index}", state="failed", steps=50, reason=words)
        fakes.set_status(run, model=words, loss_name=words, data=words, step=words, state="failed")
    for name in ("[red]", "\x1b[31mred", "[b]", "🦜", "\u202eمرحبا"):
        fakes.make_run(folder, name, steps=50)
    async with listed(folder, size, len(HOSTILE) + 5) as (pilot, screen):
        await pilot.press(*["down"] * 12, "y")
        await go(pilot, screen, "\x1b[31mred")
        await pilot.press("y", "r")
        await until(pilot, lambda: "is done:" in seen(pilot))  # the rest may be on the next line
        await pilot.press("space", "d")
        await until(pilot, lambda: isinstance(pilot.app.screen, Ask))
        assert "Delete \\u{1b}[31mred?" in seen(pilot)
        await pilot.press("escape")
        assert "[red]" in row(pilot, "[red] ")
        control = [letter for letter in seen(pilot) if not letter.isprintable() and letter != "\n"]
        assert control == []


@pytest.mark.parametrize("size", [(80, 24), pytest.param((140, 45), marks=pytest.mark.slow)])
async def test_status_files_that_hold_anything(folder, size):
    for index, held in enumerate(BROKEN):
        run = fakes.make_run(folder, f"run-{index:02}", steps=50)
        run.status.write_text(json.dumps(held))
    deep = fakes.make_run(folder, "deep", steps=50)
    deep.status.write_text("[" * 200_000)
    bytes_ = fakes.make_run(folder, "bytes", steps=50)
    bytes_.status.write_bytes(b"\xff\xfe\x00")
    place = fakes.make_run(folder, "place", steps=50)
    place.status.unlink()
    place.status.mkdir()
    locked = fakes.make_run(folder, "locked", state="training", steps=50)
    locked.lock.mkdir()
    async with listed(folder, size, len(BROKEN) + 4) as (pilot, screen):
        for name in names(screen):
            assert row(pilot, name)
        for name in ("deep", "bytes", "place", "locked", "run-03", "run-04"):
            assert "✗" in row(pilot, name)
        for column in COLUMNS:
            screen.order_by(Order(column))
            await pilot.press("S")
            assert len(names(screen)) == len(BROKEN) + 4, column
        assert {cell_len(line) <= size[0] for line in screens.screen_text(pilot.app)} == {True}
        await go(pilot, screen, "locked")
        await pilot.press("d")
        await until(pilot, lambda: isinstance(pilot.app.screen, Ask))
        await pilot.press("d")
        await until(pilot, lambda: "locked could not be deleted" in seen(pilot))
        assert locked.exists()


@pytest.mark.parametrize("answer", ["k", "s", "escape"])
async def test_the_quit_question(folder, answer):
    run = fakes.make_run(folder, "busy", state="training", steps=50)
    fakes.make_run(folder, "other", steps=50)
    with fakes.alive(run):
        async with listed(folder, rows=2) as (pilot, screen):
            await pilot.press("q")
            await until(pilot, lambda: isinstance(pilot.app.screen, Ask))
            assert "busy is still training" in seen(pilot)
            await pilot.press("ctrl+q")  # asking twice is asking once
            assert len(pilot.app.screen_stack) == 3
            await pilot.press(answer)
            if answer == "escape":
                await until(pilot, lambda: pilot.app.screen is screen)
                assert pilot.app.is_running
            await pilot.pause(0.1)
        said = pilot.app.return_value
        if answer == "k":
            assert "busy keeps training" in said
            assert "mio-local stop busy" in said
        if answer == "s":
            assert "mio-local resume busy" in said
        if answer == "escape":
            assert said is None
        assert fakes.requests(run) == (["stop"] if answer == "s" else [])


async def test_nothing_trains_nothing_is_asked(folder):
    fakes.make_run(folder, "other", steps=50)
    async with listed(folder, rows=1) as (pilot, _):
        await pilot.press("q")
    assert pilot.app.return_value == ""


@pytest.mark.slow
@pytest.mark.parametrize("filled", [True, False])
async def test_every_size_draws(folder, filled):
    if filled:
        for number in range(30):
            fakes.make_run(folder, f"run-{number}", steps=50)
    async with listed(folder) as (pilot, screen):
        for size in ((20, 5), (59, 16), (60, 15), (60, 16), (80, 24), (109, 40), (110, 32), (200, 20), (250, 80)):
            await pilot.resize_terminal(*size)
            await pilot.pause(0.1)
            small = size[0] < 60 or size[1] < 16
            assert ("too small" in seen(pilot)) == small
            assert ("mio-local   runs" in seen(pilot)) == (not small)
            assert len(screens.screen_text(pilot.app)) == size[1]
        assert pilot.app.screen is screen


async def test_the_cursor_stays_through_narrow_and_wide(folder):
    for number in range(8):
        fakes.make_run(folder, f"run-{number}", steps=50)
    async with listed(folder, (80, 24), 8) as (pilot, screen):
        await pilot.press("down", "down", "down", "space")
        here = screen.table.highlighted
        for size in ((140, 45), (80, 24), (20, 5), (140, 45)):
            await pilot.resize_terminal(*size)
            await pilot.pause(0.2)
            assert screen.table.highlighted == here
            assert screen.marked == [here]
        await until(pilot, lambda: f"✓ done  {here}" in seen(pilot))


async def test_the_ages_are_those_of_the_clock(folder, monkeypatch):
    """They go on while nothing else changes."""
    clock = [fakes.NOW + 7200 - 60]
    monkeypatch.setattr(formatting, "now", lambda: clock[0])
    fakes.make_run(folder, "old", steps=50)
    async with listed(folder, (140, 45), 1) as (pilot, _):
        assert " 2 h" in row(pilot, "old")
        clock[0] += 3600
        await until(pilot, lambda: " 3 h" in row(pilot, "old"), 3)
