"""The keys that change how the live screen looks at a run, and the mouse."""

import pytest

from mio_tui.chart import SMOOTHING
from mio_tui.screens.live import LiveScreen
from tests.helpers import fakes
from tests.helpers.tui import live_screen
from tests.helpers.tui.live_screen import opened, shown
from tests.helpers.tui.screens import seen, until

training = live_screen.training


async def test_the_keys_of_the_panels(training):
    async with opened(training) as (pilot, screen):
        for number, name in ((2, "reward margin"), (5, "info, nats"), (6, "answer"), (8, "log")):
            await pilot.press(str(number))
            await until(pilot, lambda number=number, name=name: f"╭─ {number} {name}" in seen(pilot))
        await pilot.press("tab")
        assert screen.panels.current == 0
        await pilot.press("shift+tab")
        assert screen.panels.current == 7
        await pilot.press("1", "z")
        assert "TRAINING" not in seen(pilot)
        await pilot.press("escape")
        assert "TRAINING" in seen(pilot)
        await pilot.press("enter")
        assert "TRAINING" not in seen(pilot)
        await pilot.press("escape", "escape")
        await until(pilot, lambda: not isinstance(pilot.app.screen, LiveScreen))


async def test_the_keys_of_the_charts(training):
    async with opened(training) as (pilot, screen):
        chart = screen.panels.charts[0]
        await pilot.press("left")
        assert chart.cursor == 412
        await pilot.press("left")
        assert chart.cursor < 412
        assert {other.cursor for other in screen.panels.charts} == {chart.cursor}
        assert f"step {chart.cursor:.0f}  chosen " in seen(pilot)
        await pilot.press("plus")
        low, high = chart.x_range
        assert high - low == pytest.approx(250)
        await pilot.press("shift+left")
        assert chart.x_range[0] < low
        await pilot.press("minus")
        assert chart.x_range == (0, 500)
        await pilot.press("plus", "0")
        assert chart.x_range == (0, 500)
        before = screen.panels.smoothing
        await pilot.press("s")
        assert chart.smoothing == SMOOTHING[(SMOOTHING.index(before) + 1) % 4]
        await pilot.press("l")
        assert not chart.log_y  # a change is negative as often as not
        await pilot.press("4", "l")
        assert screen.panels.charts[3].log_y
        await pilot.press("escape")
        assert chart.cursor is None


async def test_absolute_and_per_answer(training):
    async with opened(training) as (pilot, screen):
        for key, figure in (("a", "logps/chosen"), ("u", "logps/chosen_per_token"), ("a", "delta/chosen_per_token")):
            await pilot.press(key)
            value = fakes.figures(400, "mio")[figure]
            await until(pilot, lambda value=value: shown(screen)["chosen"].y[-1] == pytest.approx(value))
        assert "likelihood, Δ nats per token" in seen(pilot)


async def test_freeze_holds_the_curves_while_the_header_counts(training):
    async with opened(training) as (pilot, screen):
        await pilot.press("f")
        fakes.append(training, fakes.step_event(413))
        fakes.set_status(training, step=413)
        await until(pilot, lambda: "step 413/1,000" in seen(pilot))
        await pilot.press("2", "1")
        assert shown(screen)["chosen train"].x[-1] == 412
        assert "f goes on" in seen(pilot)
        await pilot.press("f")
        await until(pilot, lambda: shown(screen)["chosen train"].x[-1] == 413)


async def test_all_samples_can_be_reached(training):
    async with opened(training) as (pilot, _):
        await pilot.press("6")
        assert "6 answer at step 400 · 9 of 9" in seen(pilot)
        await pilot.press("left_square_bracket")
        assert "6 answer at step 350 · 8 of 9" in seen(pilot)
        await pilot.press(*["left_square_bracket"] * 9)
        assert "6 answer at step 0 · 1 of 9" in seen(pilot)
        await pilot.press("right_square_bracket")
        assert "6 answer at step 50 · 2 of 9" in seen(pilot)
        answer = {"type": "sample", "step": 450, "prompt": "p", "base": "b", "policy": "q"}
        fakes.append(training, answer)  # what is being read stays
        await until(pilot, lambda: "6 answer at step 50 · 2 of 10" in seen(pilot))
        await pilot.press(*["right_square_bracket"] * 9)
        assert "6 answer at step 450 · 10 of 10" in seen(pilot)
        fakes.append(training, {**answer, "step": 500})
        await until(pilot, lambda: "6 answer at step 500 · 11 of 11" in seen(pilot))


async def test_the_mouse_chooses_panels(training):
    async with opened(training) as (pilot, screen):
        await until(pilot, lambda: "healthy" in seen(pilot) and "3 accuracy  4 loss" in seen(pilot))  # all has its row
        await until(pilot, lambda: screen.query_one("#tabs").region.y == 4)
        names = next(row for row in seen(pilot).splitlines() if "3 accuracy  4 loss" in row)
        await pilot.click("#tabs", offset=(names.index("4 loss"), 0))
        await until(pilot, lambda: screen.panels.current == 3)
        await pilot.resize_terminal(140, 45)
        await pilot.pause(0.1)
        await pilot.click("#system")
        await until(pilot, lambda: screen.panels.current == 6)


async def test_charts_without_braille(training, monkeypatch):
    async with opened(training) as (pilot, _):
        assert any("\u2801" <= character <= "\u28ff" for character in seen(pilot))
    monkeypatch.setenv("MIO_LOCAL_CHART", "ascii")
    async with opened(training) as (pilot, _):
        assert not any("\u2800" <= character <= "\u28ff" for character in seen(pilot))
        assert "chosen +2.16" in seen(pilot)


@pytest.mark.slow
async def test_what_came_while_one_panel_had_the_screen_is_in_the_others(training):
    async with opened(training, size=(140, 45)) as (pilot, screen):
        await until(pilot, lambda: "8 log" in seen(pilot) and not screen.working)
        await pilot.press("z")
        await until(pilot, lambda: "8 log" not in seen(pilot) and "TRAINING" not in seen(pilot))
        fakes.append(training, {"type": "note", "step": 450, "time": fakes.NOW, "level": "info", "text": "a new line"})
        await until(pilot, lambda: any("a new line" in entry.words for entry in screen.reading.log))
        assert "a new line" not in seen(pilot)
        await pilot.press("z")
        await until(pilot, lambda: "a new line" in seen(pilot) and "TRAINING" in seen(pilot))
