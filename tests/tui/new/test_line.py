"""A new run beside others, or behind them."""

from pathlib import Path
from typing import Any

import pytest

from mio_local.runs.directory import Run
from tests.helpers import fakes
from tests.helpers.tui import new_run_form
from tests.helpers.tui.new_run_form import TABLES, form, go, settled, text, toasts
from tests.helpers.tui.screens import until

folder = new_run_form.folder
shown = new_run_form.shown
Launches = list[tuple[list[Run], Run | None]]


@pytest.fixture
def launches(monkeypatch: pytest.MonkeyPatch) -> Launches:
    """The queues that were launched, and after which run. They wait for it, where there is one."""
    found: Launches = []

    def launch(queue: list[Run], *_: str, after: Run | None = None) -> str:
        found.append((queue, after))
        if after:
            queue[0].update_status(state="queued", after=after.name, since=1.0)
        return after.name if after else ""

    monkeypatch.setattr("mio_tui.new.begin.launch", launch)
    return found


async def test_the_review_offers_the_place_behind_a_run_that_trains(
    folder: Path, launches: Launches, shown: list[Run]
) -> None:
    running = fakes.make_run(folder, "alpha", state="training")
    with fakes.alive(running):
        async with form(folder, tables=TABLES, name="beta") as (pilot, screen):
            await settled(pilot, screen)
            await pilot.press("ctrl+s")
            await until(pilot, lambda: "alpha trains here now" in text(screen))
            assert "q runs it after alpha · s starts it now" in text(screen)
            await pilot.press("q")
            await until(pilot, lambda: screen not in screen.app.screen_stack)
            await until(pilot, lambda: "beta is in line: it trains once alpha is over" in toasts(screen))
    assert launches == [([Run(folder / "beta")], running)]
    assert Run(folder / "beta") not in shown  # there is nothing to see of it yet


async def test_a_start_beside_a_run_that_trains_is_asked_once_more(
    folder: Path, launches: Launches, shown: list[Run]
) -> None:
    with fakes.alive(fakes.make_run(folder, "alpha", state="training")):
        async with form(folder, tables=TABLES, name="beta") as (pilot, screen):
            await settled(pilot, screen)
            await go(pilot, screen, 3)
            await until(pilot, lambda: screen.state.ahead)
            await pilot.press("s")
            await until(pilot, lambda: "alpha trains here now: beside others each is slower" in toasts(screen))
            assert launches == []
            await pilot.press("s")
            await until(pilot, lambda: launches)
    assert launches == [([Run(folder / "beta")], None)]


async def test_a_run_that_began_a_moment_ago_is_told_before_one_starts_beside_it(
    folder: Path, launches: Launches, shown: list[Run], monkeypatch: Any
) -> None:
    monkeypatch.setattr("mio_tui.new.form.AHEAD_SECONDS", 1000.0)
    async with form(folder, tables=TABLES) as (pilot, screen):
        await settled(pilot, screen)
        await go(pilot, screen, 3)
        with fakes.alive(fakes.make_run(folder, "alpha", state="training")):
            await pilot.press("s")
            await until(pilot, lambda: "alpha trains here now" in toasts(screen))
            assert launches == []
            assert not screen.state.starting


async def test_the_place_is_behind_those_that_wait_already(folder: Path, launches: Launches) -> None:
    first = fakes.make_run(folder, "alpha", state="training")
    waiting = fakes.make_run(folder, "gamma", state="queued")
    fakes.set_status(waiting, after="alpha", since=1.0)
    with fakes.alive(first), fakes.alive(waiting):
        async with form(folder, tables=TABLES) as (pilot, screen):
            await settled(pilot, screen)
            await go(pilot, screen, 3)
            await until(pilot, lambda: "alpha trains here now, 1 waits" in text(screen))
            await pilot.press("q")
            await until(pilot, lambda: launches)
    assert launches[0][1] == waiting


@pytest.mark.slow
async def test_the_review_follows_the_line_and_is_still_while_nothing_changes(
    folder: Path, monkeypatch: Any, launches: Launches
) -> None:
    monkeypatch.setattr("mio_tui.new.form.AHEAD_SECONDS", 0.05)
    async with form(folder, tables=TABLES) as (pilot, screen):
        await settled(pilot, screen)
        await go(pilot, screen, 3)
        await pilot.press("q")
        assert "nothing trains or waits here: s starts" in toasts(screen)
        with fakes.alive(fakes.make_run(folder, "alpha", state="training")):
            await until(pilot, lambda: "alpha trains here now" in text(screen))
            told: list[int] = []
            monkeypatch.setattr(screen.review, "tell", lambda: told.append(1))
            await pilot.pause(0.5)
            assert told == []
            monkeypatch.undo()
        await until(pilot, lambda: "alpha trains here now" not in text(screen))
    assert launches == []
