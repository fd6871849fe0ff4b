"""What there is more room for: facts beside every step, and model, data, goal and effort on one page."""

from pathlib import Path
from typing import Any

import pytest

from mio_tui.new.facts_side import FactsSide
from mio_tui.new.key_field import Choice, Field
from mio_tui.new.steps.place import Place
from tests.helpers import fakes
from tests.helpers.tui import new_run_form
from tests.helpers.tui.new_run_form import SUMMARY, TABLES, FakePreview, box, field, form, go, settled, text, type_into
from tests.helpers.tui.screens import until

folder = new_run_form.folder
ROOM, LITTLE = (110, 32), (80, 24)


@pytest.mark.slow
async def test_memory_duration_and_doubts_stand_beside_every_step(folder: Path) -> None:
    warning = "the chosen answer is the longer one"
    FakePreview.summarised = {"summary": SUMMARY | {"tokens_a_pair": 14_875.0}, "warnings": [warning], "stops": ""}
    fakes.make_run(folder, "demo-mio")
    async with form(folder, ROOM, TABLES) as (pilot, screen):
        await settled(pilot, screen)
        for at in range(4):
            await go(pilot, screen, at)
            await until(pilot, lambda: "about 20 min, as in demo-mio" in text(screen))
            assert "~3.6 GB of 27 GB" in text(screen)
            assert f"! {warning[:20]}" in text(screen)
        await pilot.resize_terminal(*LITTLE)
        await go(pilot, screen, 1)
        await until(pilot, lambda: "about 20 min" not in text(screen))
        await go(pilot, screen, 2)
        assert "✓ needs ~3.6 GB of 27 GB free: fits · about 20 min" in text(screen)


@pytest.mark.slow
@pytest.mark.parametrize("size", [ROOM, LITTLE])
async def test_the_effort_is_a_choice_of_epochs(folder: Path, size: tuple[int, int]) -> None:
    async with form(folder, size, TABLES | {"train": {"steps": 7}}) as (pilot, screen):
        await settled(pilot, screen)
        await go(pilot, screen, 2)
        assert "‹ as below ›" in text(screen)
        screen.settings.focus_key("effort")
        await pilot.pause()
        told: list[tuple[str, str, float]] = []
        for _ in range(3):
            await pilot.press("right")
            train = screen.state.draft.recipe().train
            assert train.steps == 0
            told.append((box(screen, "train.epochs").value, box(screen, "train.steps").value, train.epochs))
        assert told == [("0.1", "0", 0.1), ("1.0", "0", 1.0), ("3", "0", 3.0)]
        await type_into(pilot, screen, "train.epochs", "1")
        assert field(screen, "effort").query_one(Choice).at == 1
        await type_into(pilot, screen, "train.epochs", "2")
        assert "‹ as below ›" in text(screen)


@pytest.mark.slow
async def test_model_and_data_are_on_the_page_where_there_is_room(folder: Path) -> None:
    async with form(folder, ROOM, TABLES) as (pilot, screen):
        await settled(pilot, screen)
        await go(pilot, screen, 2)
        assert "model            Qwen/Qwen3-0.6B" in text(screen)
        assert "data             pairs.jsonl, 950 pairs to train on" in text(screen)
        await pilot.press("up", "up", "up")  # past effort and objective
        assert screen.app.focused is screen.query(Place).last()
        assert "data: enter goes to where it is chosen" in text(screen)
        await pilot.press("enter")
        await until(pilot, lambda: screen.at == 1)
        await go(pilot, screen, 2)
        screen.query(Place).first().focus()
        await pilot.press("enter")
        await until(pilot, lambda: screen.at == 0)
        await pilot.resize_terminal(*LITTLE)
        await go(pilot, screen, 2)
        assert "Qwen/Qwen3-0.6B" not in text(screen)
        await pilot.press("up", "up", "up")
        assert not isinstance(screen.app.focused, Place)


@pytest.mark.slow
async def test_all_settings_are_one_key_away(folder: Path) -> None:
    async with form(folder, ROOM, TABLES) as (pilot, screen):
        await settled(pilot, screen)
        await go(pilot, screen, 2)
        await pilot.press("f4")
        await until(pilot, lambda: screen.app.focused is box(screen, "model.revision"))
        assert "▾ all settings" in text(screen)
        await pilot.press("f4")
        assert "▸ all settings" in text(screen)
        assert screen.app.focused is screen.query_one("#settings-all")


async def test_what_has_not_changed_is_not_drawn_again(folder: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr("mio_tui.new.form.AHEAD_SECONDS", 0.05)
    async with form(folder, ROOM, TABLES) as (pilot, screen):
        await settled(pilot, screen)
        await until(pilot, lambda: screen.state.lasting)
        await go(pilot, screen, 1)
        drawn: list[object] = []
        monkeypatch.setattr(FactsSide, "update", lambda *given, **_: drawn.append(given))
        screen.tell()
        await pilot.pause(0.3)
        assert drawn == []


@pytest.mark.slow
async def test_a_field_that_is_never_mounted_holds_no_key_up(folder: Path, monkeypatch: Any) -> None:
    async with form(folder, LITTLE, TABLES) as (pilot, screen):
        await settled(pilot, screen)
        await go(pilot, screen, 2)
        monkeypatch.setattr(Field, "edited", None)  # as where the app ends meanwhile
        screen.settings.focus_key("train.seed")
        await pilot.press("f1")
        await until(pilot, lambda: screen.app.screen is not screen, 10)
        monkeypatch.undo()
