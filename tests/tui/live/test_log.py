"""The log panel: filtered by words, scrolled by keys; and the machine's load, which is looked at while a run works."""

import pytest

from mio_local.services import host
from mio_tui.live.log import entries
from mio_tui.live.plots import Look
from mio_tui.live.widgets import LogFilter, TextPanel
from mio_tui.screens.live import LiveScreen
from tests.helpers import fakes
from tests.helpers.tui import live_screen
from tests.helpers.tui.live_screen import opened
from tests.helpers.tui.screens import seen, until
from tests.tui.live.test_parts import history

training = live_screen.training


def test_a_filter_looks_through_all_of_a_long_run():
    run = history(*fakes.events(1000, every=5))
    assert min(entry.step for entry in entries(run, Look())) > 100  # the newest ones alone
    assert [entry.step for entry in entries(run, Look(), words="STEP-000100 check")] == [100]
    assert [entry.step for entry in entries(run, Look(), words="sample 1000")] == [1000]
    assert [entry.step for entry in entries(run, Look(), words="info cut")] == [0]
    assert entries(run, Look(), words="no such") == ()


async def test_slash_filters_the_log_and_escape_shows_it_all(training):
    async with opened(training) as (pilot, screen):
        await pilot.press("slash", *"EVAL", "space", *"350")
        await until(pilot, lambda: "8 log with EVAL 350" in seen(pilot) and "sample answered" not in seen(pilot))
        assert "350 eval Δchosen" in seen(pilot)
        assert "400 eval" not in seen(pilot)
        await pilot.press("enter", "1")  # the keys are the screen's again, and the filter stays
        assert screen.panels.current == 0
        await pilot.press("8", "slash", *"zz")
        await until(pilot, lambda: "no line holds that" in seen(pilot))
        await pilot.press("escape")
        await until(pilot, lambda: "sample answered" in seen(pilot))
        assert "╭─ 8 log ─" in seen(pilot)
        await pilot.press("slash", *"400", "enter", "escape")  # out of the filter before out of the screen
        assert screen.query_one(LogFilter).value == ""
        assert isinstance(pilot.app.screen, LiveScreen)


async def test_j_and_k_scroll_as_elsewhere(training):
    async with opened(training, size=(80, 20)) as (pilot, screen):
        await pilot.press("8")
        panel = screen.query_one("#log", TextPanel)
        scroll = panel.query_one("Scroll")
        await until(pilot, lambda: scroll.max_scroll_y > 3 and scroll.scroll_y == scroll.max_scroll_y)
        await pilot.press("k", "k")
        assert scroll.scroll_y == scroll.max_scroll_y - 2
        await pilot.press("j")
        assert scroll.scroll_y == scroll.max_scroll_y - 1
        assert fakes.requests(training) == []  # no checkpoint was asked for


async def test_the_machine_is_looked_at_while_the_run_works_alone(training, monkeypatch):
    looks = []
    busy = host.Host(88.0, 9_100_000_000, 24_000_000_000, 71.0, 9_100_000_000, 24_000_000_000, 63.0)
    monkeypatch.setattr("mio_tui.live.view.read_host", lambda: looks.append(1) or busy)
    monkeypatch.setattr("mio_tui.live.view.HOST", 0.05)
    async with opened(training) as (pilot, _):
        await pilot.press("7")
        await until(pilot, lambda: "7 CPU 88% · GPU 71% 9.1/24 GB 63°" in seen(pilot))
        fakes.set_status(training, state="paused")
        await until(pilot, lambda: "╭─ 7 system ─" in seen(pilot))
        await pilot.pause(0.1)
        before = len(looks)
        await pilot.pause(0.3)  # six ticks
        assert len(looks) == before


@pytest.mark.parametrize("state", ["done", "failed"])
async def test_no_machine_is_looked_at_beside_a_run_that_ended(tmp_path, monkeypatch, state):
    monkeypatch.setattr("mio_tui.live.view.read_host", lambda: pytest.fail("looked at"))
    monkeypatch.setattr("mio_tui.live.view.HOST", 0.02)
    async with opened(fakes.make_run(tmp_path, "run", state=state, steps=60)) as (pilot, screen):
        await pilot.pause(0.2)
        assert screen.panels.host == ""
