"""How the pages look on which pairs are made and reviewed."""

import pytest
from textual.widgets import Input

from mio_tui import formatting
from mio_tui.make.making_process import MakingProcess
from tests.helpers import fakes
from tests.helpers.tui.make_pages import HOSTILE, fill, folder, form, maker, making, pair, review, write_pairs
from tests.helpers.tui.screens import Looks, look, seen, until

__all__ = ["folder"]
SIZES = ((80, 24), pytest.param((140, 45), marks=pytest.mark.slow))


@pytest.fixture(autouse=True)
def still(monkeypatch):
    """Nothing moves by itself: clocks, cursors."""
    monkeypatch.setattr(formatting, "now", lambda: fakes.NOW)
    monkeypatch.setattr(Input, "cursor_blink", False)
    monkeypatch.setattr(MakingProcess, "seconds", 14.0)
    monkeypatch.setattr(MakingProcess, "left", 24.0)


@pytest.fixture
def same(snapshot):
    """Compare the screen with the one that was kept, once it moves no more."""

    async def compare(pilot):
        looks = ["", look(pilot.app)]
        while looks[-1] != looks[-2]:
            await pilot.pause(0.2)
            looks.append(look(pilot.app))
        assert looks[-1] == snapshot(extension_class=Looks)

    return compare


@pytest.mark.parametrize("size", SIZES)
async def test_an_empty_form(folder, same, size):
    async with form(folder, size) as (pilot, _):
        await same(pilot)


@pytest.mark.parametrize("size", [*SIZES, (60, 16)])
async def test_a_form_with_judges(folder, same, size):
    async with form(folder, size) as (pilot, screen):
        await fill(pilot, screen)
        await same(pilot)


@pytest.mark.parametrize("size", SIZES)
async def test_a_wrong_value(folder, same, size):
    async with form(folder, size) as (pilot, screen):
        await fill(pilot, screen)
        await pilot.press("enter", "enter", "9")
        await same(pilot)


@pytest.mark.parametrize("size", SIZES)
async def test_a_making_at_work(folder, same, monkeypatch, tmp_path, size):
    maker(monkeypatch, tmp_path, [pair(1)], gate=tmp_path / "gate")
    async with form(folder, size) as (pilot, screen):
        await fill(pilot, screen)
        await pilot.press("ctrl+s")
        await until(pilot, lambda: "20/56" in seen(pilot))
        await same(pilot)


@pytest.mark.parametrize("size", SIZES)
async def test_a_making_that_is_done(folder, same, monkeypatch, tmp_path, size):
    maker(monkeypatch, tmp_path, [pair(1)])
    async with form(folder, size) as (pilot, screen):
        await fill(pilot, screen)
        await pilot.press("ctrl+s")
        await making(pilot)
        await same(pilot)


@pytest.mark.parametrize("size", [*SIZES, (60, 16)])
async def test_a_review(folder, same, tmp_path, size):
    rows = [pair(0), pair(1), pair(2, prompt=HOSTILE, chosen=HOSTILE, rejected="no")]
    async with review(folder, write_pairs(tmp_path / "pairs.jsonl", rows), size) as (pilot, _):
        await pilot.press("1")
        await until(pilot, lambda: "2 of 3" in seen(pilot))
        await same(pilot)


@pytest.mark.parametrize("size", SIZES)
async def test_texts_of_strangers(folder, same, tmp_path, size):
    rows = [pair(2, prompt=HOSTILE, chosen=HOSTILE, rejected="no")]
    async with review(folder, write_pairs(tmp_path / "pairs.jsonl", rows), size) as (pilot, _):
        await same(pilot)


async def test_the_end_of_a_review_in_the_light(folder, same, monkeypatch, tmp_path):
    monkeypatch.setenv("MIO_LOCAL_THEME", "mio-light")
    async with review(folder, write_pairs(tmp_path / "pairs.jsonl", [pair(0), pair(1)])) as (pilot, _):
        await pilot.press("1", "s")
        await until(pilot, lambda: "That was the last one" in seen(pilot))
        await same(pilot)


async def test_a_review_without_colour(folder, same, monkeypatch, tmp_path):
    monkeypatch.setenv("NO_COLOR", "1")
    async with review(folder, write_pairs(tmp_path / "pairs.jsonl", [pair(0)])) as (pilot, _):
        await same(pilot)
