"""The list of runs: what it shows, what its keys do, and what hostile or broken files do to it (nothing)."""

import contextlib

import pytest

from mio_tui.runs.runtable import RunTable
from mio_tui.screens.compare import CompareScreen
from mio_tui.screens.live import LiveScreen
from tests.helpers import fakes
from tests.helpers.tui import screens
from tests.helpers.tui.runs_screen import LIVE, SIGNS, go, listed, names, row
from tests.helpers.tui.screens import seen, until


@pytest.mark.parametrize("size", [(80, 24), pytest.param((140, 45), marks=pytest.mark.slow)])
async def test_every_state_has_its_sign(folder, size):
    with contextlib.ExitStack() as stack:
        for state in SIGNS:
            run = fakes.make_run(folder, f"is-{state}", state="training" if state == "lost" else state, steps=50)
            if state in LIVE:
                stack.enter_context(fakes.alive(run))
        async with listed(folder, size, len(SIGNS)) as (pilot, screen):
            for state, sign in SIGNS.items():
                assert row(pilot, f"is-{state}").split()[:2] == [sign, f"is-{state}"]
            assert set(names(screen)[:4]) == {f"is-{state}" for state in LIVE}
            assert "● 3 training · ‖ 1 paused · ◌ 1 queued" in seen(pilot)


async def test_the_figures_are_those_of_the_held_out_pairs(folder):
    run = fakes.make_run(folder, "one", steps=100, state="stopped")
    fakes.set_status(run, held_out={"delta/chosen": 1.239, "rewards/accuracies": 0.714}, metrics={"delta/chosen": -9})
    bare = fakes.make_run(folder, "bare", steps=100, state="stopped")
    fakes.set_status(bare, held_out={}, metrics={"delta/chosen": -9})
    async with listed(folder, (80, 24), 2) as (pilot, _):
        assert row(pilot, "one").split()[6:8] == ["+1.24", "0.71"]
        assert row(pilot, "bare").split()[6:8] == ["-9.00", "—"]


@pytest.mark.parametrize("size", [(80, 24), (110, 32), (140, 45)])
async def test_the_footer_and_the_columns_fit(folder, size):
    with fakes.alive(fakes.make_run(folder, "qwen3-0.6b-mio-longest", state="training", steps=999)):
        async with listed(folder, size, 1) as (pilot, screen):
            assert all(word in screens.screen_text(pilot.app)[-1] for word in ("? Help", ". Actions", "q Quit"))
            last = screen.table.places[-1]
            assert last.left + last.width <= screen.table.size.width
            assert "↑" in row(pilot, "qwen3-0.")
            assert "qwen3-0.6b-mio-longest" in seen(pilot)  # below the table in full


async def test_the_filter_takes_every_word_and_escape_clears_it(folder):
    for name, loss in (("alpha", "mio"), ("beta", "dpo"), ("alphabet", "dpo")):
        fakes.make_run(folder, name, loss=loss, steps=50)
    async with listed(folder, rows=3) as (pilot, screen):
        await pilot.press("slash", *"ALPHA")
        assert set(names(screen)) == {"alpha", "alphabet"}
        await pilot.press("space", *"dpo")
        assert names(screen) == ["alphabet"]
        await pilot.press("enter", "enter")
        await until(pilot, lambda: isinstance(pilot.app.screen, LiveScreen))
        assert pilot.app.screen.watched.run.name == "alphabet"
        await pilot.press("escape")
        await until(pilot, lambda: pilot.app.screen is screen)
        assert "runs 1 of 3 /ALPHA dpo" in seen(pilot)
        await pilot.press("escape")
        assert len(names(screen)) == 3
        await pilot.press("slash", *"[/none", "enter")
        assert "runs 0 of 3 /[/none" in seen(pilot)
        assert names(screen) == []
        await pilot.press("enter", "d", "r", "space", "e", "y")
        assert pilot.app.screen is screen
        await pilot.press("escape")
        assert len(names(screen)) == 3


async def test_any_number_of_marks_and_compare_takes_four(folder):
    for number in range(6):
        fakes.make_run(folder, f"run-{number}", steps=50)
    async with listed(folder, rows=6) as (pilot, screen):
        order = names(screen)
        for _ in range(5):
            await pilot.press("space", "j")
        assert screen.marked == order[:5]
        assert "▸ 5 marked" in seen(pilot)
        assert [("▸" in row(pilot, name)) for name in order] == [True] * 5 + [False]
        await pilot.press("c")
        await until(pilot, lambda: "5 runs are marked; 4 can be compared at once" in seen(pilot))
        assert pilot.app.screen is screen
        await pilot.press("k", "space", "k", "space")
        assert screen.marked == order[:3]
        await pilot.press("c")
        await until(pilot, lambda: isinstance(pilot.app.screen, CompareScreen))
        await until(pilot, lambda: all(name in seen(pilot) for name in order[:3]))
        assert order[3] not in seen(pilot)
        await pilot.press("escape")
        await until(pilot, lambda: pilot.app.screen is screen)
        await pilot.press("escape")
        assert screen.marked == []


async def test_enter_and_a_click_open_the_run(folder):
    """A click goes to the run; one more opens it."""
    fakes.make_run(folder, "first", steps=50)
    fakes.make_run(folder, "second", steps=50)
    async with listed(folder, rows=2) as (pilot, screen):
        await go(pilot, screen, "first")
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(pilot.app.screen, LiveScreen))
        assert pilot.app.screen.watched.run.name == "first"
        await pilot.press("escape")
        await until(pilot, lambda: pilot.app.screen is screen)
        place = (4, 1 + names(screen).index("second"))  # below the table's head
        await pilot.click(RunTable, offset=place)
        assert screen.table.highlighted == "second"
        assert pilot.app.screen is screen
        await pilot.click(RunTable, offset=place)
        await until(pilot, lambda: isinstance(pilot.app.screen, LiveScreen))
        assert pilot.app.screen.watched.run.name == "second"
