"""The duration before a start: from an earlier run like it, or said to be unknown."""

from pathlib import Path

import pytest

from mio_tui.new.lookups.lasting import about
from tests.helpers import fakes
from tests.helpers.tui import new_run_form
from tests.helpers.tui.new_run_form import SUMMARY, TABLES, FakePreview, form, go, settled, text, type_into
from tests.helpers.tui.screens import until

folder = new_run_form.folder
UNKNOWN = "duration: known after the first steps"


@pytest.fixture
def measured(folder: Path) -> Path:
    """Pairs of 14,875 tokens, ten times as many as in the fake runs: 5,950 tokens and 4 pairs a step of 0.5 s."""
    FakePreview.summarised = {"summary": SUMMARY | {"tokens_a_pair": 14_875.0}, "warnings": [], "stops": ""}
    return folder


@pytest.mark.slow
async def test_the_review_tells_how_long_by_an_earlier_run(measured: Path) -> None:
    fakes.make_run(measured, "demo-mio")
    async with form(measured, tables=TABLES) as (pilot, screen):
        await settled(pilot, screen)
        await go(pilot, screen, 3)  # 950 pairs in 238 steps of 5 s: 20 minutes
        await until(pilot, lambda: "✓ about 20 min, as in demo-mio" in text(screen))
        await go(pilot, screen, 2)
        await type_into(pilot, screen, "train.epochs", "3")
        await pilot.press("ctrl+s")
        await until(pilot, lambda: "about 59 min, as in demo-mio" in text(screen))
        assert screen.at == 3


@pytest.mark.slow
async def test_both_take_the_time_of_both(measured: Path) -> None:
    fakes.make_run(measured, "demo-mio")
    fakes.make_run(measured, "demo-dpo", loss="dpo")
    async with form(measured, tables=TABLES) as (pilot, screen):
        await settled(pilot, screen)
        await go(pilot, screen, 2)
        screen.settings.focus_key("loss.name")
        await pilot.pause()
        await pilot.press("left", "ctrl+s")
        await until(pilot, lambda: "about 40 min, as in demo-mio, demo-dpo" in text(screen))


@pytest.mark.parametrize("model", ["org/another", ""])
async def test_what_no_run_tells_is_known_after_the_first_steps(measured: Path, model: str) -> None:
    if model:
        fakes.make_run(measured, "other", model=model)
    broken = fakes.make_run(measured, "broken")
    broken.recipe.write_text("[model]\nname = 3", encoding="utf-8")
    fakes.make_run(measured, "new", steps=0, stream=[])
    async with form(measured, tables=TABLES) as (pilot, screen):
        await settled(pilot, screen)
        await go(pilot, screen, 3)
        await until(pilot, lambda: UNKNOWN in text(screen))


def test_an_estimate_is_told_as_one() -> None:
    told = {
        0.2: "1 s", 40: "40 s", 47: "50 s", 1300: "22 min", 5399: "90 min", 5401: "1.5 h", 36e3: "10 h", 2e5: "2 days",
    }  # fmt: skip
    assert [about(seconds) for seconds in told] == [f"about {words}" for words in told.values()]
    assert about(float("inf")) == "more than 10,000 days"
