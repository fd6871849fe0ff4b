"""The third step of the New run screen, and recipes as files and as text."""

from pathlib import Path
from typing import Any

import pytest
from textual.widgets import Input, TextArea

from mio_local.recipe import build, read_toml
from mio_local.shipped import recipe_folder
from mio_tui.new.draft import KEYS
from mio_tui.new.edit import EditRecipe
from mio_tui.new.key_field import Choice, Field
from mio_tui.new.load import LoadRecipe
from tests.helpers.some import first
from tests.helpers.tui import new_run_form
from tests.helpers.tui.new_run_form import (
    TABLES,
    FakePreview,
    box,
    field,
    form,
    go,
    press_start,
    settled,
    text,
    toasts,
    type_into,
)
from tests.helpers.tui.screens import screen_text, until

folder = new_run_form.folder
launched = new_run_form.launched


@pytest.mark.parametrize(
    ("key", "typed", "reason"),
    first(2, [
        ("loss.beta", "0.1x", "0.1x: input should be a valid number"),
        ("run.name", "a/b", "use letters, digits"),
        ("train.batch_size", "0", "0: input should be greater than or equal to 1"),
        ("lora.dropout", "1", "1: input should be less than 1"),
        ("train.steps", "2.5", "2.5: input should be a valid integer"),
        ("lora.targets", ",", "list should have at least 1 item"),
    ]),
)
async def test_a_wrong_value_is_told_as_it_is_typed(
    folder: Path, launched: list[Any], key: str, typed: str, reason: str
) -> None:
    async with form(folder, (140, 45), tables=TABLES) as (pilot, screen):
        await settled(pilot, screen)
        await go(pilot, screen, 2)
        await type_into(pilot, screen, key, typed)
        await pilot.pause()
        row = next(line for line in screen_text(screen.app) if reason in line)
        assert "✗" in row
        assert "3 Settings ✓" not in text(screen)
        await go(pilot, screen, 3)
        await press_start(pilot, screen)
        await until(pilot, lambda: screen.at == 2 and screen.app.focused is box(screen, key))
        assert launched == []
        await type_into(pilot, screen, key, "")
        await until(pilot, lambda: "3 Settings ✓" in text(screen))


async def test_a_choice_is_turned_by_keys_and_by_the_mouse(folder: Path) -> None:
    async with form(folder, (140, 45), tables=TABLES) as (pilot, screen):
        await go(pilot, screen, 2)
        objective = field(screen, "loss.name").query_one(Choice)
        objective.focus()
        await pilot.press("right")
        assert screen.state.draft.recipe().loss.name == "dpo"
        assert "( ) MIO  (•) DPO" in text(screen)
        await pilot.press("left", "left")
        assert [recipe.loss.name for recipe in screen.state.draft.recipes()] == ["mio", "dpo"]
        assert "MIO+DPO" in text(screen)  # the last, on a page of its own
        await pilot.press("right")
        await pilot.click(objective, offset=(19, 0))
        assert screen.state.draft.recipe().loss.name == "robust"
        assert not screen.state.draft.both


@pytest.mark.slow
async def test_every_key_of_the_recipe_can_be_edited(folder: Path) -> None:
    async with form(folder, tables=TABLES) as (pilot, screen):
        await go(pilot, screen, 2)
        screen.query_one("#settings-all").focus()
        await pilot.press("enter")
        await until(pilot, lambda: "▾ all settings" in text(screen) or len(list(screen.step.query(Field))) > 30)
        keys = {entry.key for entry in screen.step.query(Field)} | {"model.name", "data.source"}
        assert keys == {*KEYS, "run.name", "effort"}
        await type_into(pilot, screen, "train.adam_eps", "1e-6")
        assert screen.state.draft.recipe().train.adam_eps == 1e-6
        await pilot.pause()
        assert "train.adam_eps: AdamW epsilon" in text(screen)


@pytest.mark.slow
async def test_the_preview_runs_remote_code_where_that_was_allowed_by_hand(folder: Path) -> None:
    def allowed() -> list[bool]:
        return [fields["model"]["trust_remote_code"] for do, fields in FakePreview.asked if do == "open"]

    asked = TABLES | {"model": {**TABLES["model"], "trust_remote_code": True}}  # by a recipe, which a stranger wrote
    async with form(folder, tables=asked) as (pilot, screen):
        await settled(pilot, screen)
        assert allowed() == [False]
        assert screen.state.draft.recipe().model.trust_remote_code
        await go(pilot, screen, 2)
        screen.query_one("#settings-all").focus()
        await pilot.press("enter")
        await until(pilot, lambda: screen.step.query("#field-model-trust_remote_code Choice"))
        field(screen, "model.trust_remote_code").query_one(Choice).focus()
        await pilot.press("left", "right")
        await until(pilot, lambda: allowed()[-1])


@pytest.mark.slow
async def test_what_follows_from_the_settings_is_said(folder: Path) -> None:
    tables = TABLES | {"train": {"batch_size": 2, "accumulate": 8}, "loss": {"beta": 0.2}}
    async with form(folder, (140, 45), tables=tables) as (pilot, screen):
        await settled(pilot, screen)
        await go(pilot, screen, 2)
        await pilot.pause()
        assert "target ln 2 / beta = +3.47 nats" in text(screen)  # 0.6931 / 0.2
        assert "2 × 8 = 16 pairs per update" in text(screen)
        assert "= 60 steps: 950 pairs, 16 an update" in text(screen)  # 950 / 16 = 59.4
        assert "1.2% of the pairs cut; the longest has 1,400" in text(screen)
        await type_into(pilot, screen, "train.steps", "120")
        await until(pilot, lambda: "= 2.0 epochs of 950 pairs" in text(screen))


@pytest.mark.slow
async def test_the_same_key_in_two_steps_is_one(folder: Path) -> None:
    async with form(folder, tables=TABLES) as (pilot, screen):
        await go(pilot, screen, 1)
        await type_into(pilot, screen, "data.max_tokens", "512")
        await go(pilot, screen, 2)
        await pilot.pause()
        assert field(screen.step, "data.max_tokens").query_one(Input).value == "512"


@pytest.mark.slow
async def test_the_recipe_is_edited_as_text(folder: Path) -> None:
    async with form(folder, tables=TABLES) as (pilot, screen):
        await go(pilot, screen, 2)
        await go(pilot, screen, 3)
        await pilot.press("e")
        await until(pilot, lambda: isinstance(screen.app.screen, EditRecipe))
        area = screen.app.screen.query_one(TextArea)
        area.text += "\n[loss]\nbeta = -3\n"
        await pilot.press("ctrl+s")
        await pilot.pause()
        assert "text: loss.beta = -3: input should be greater than 0" in text(screen)
        area.text = area.text.replace("-3", "0.3")
        await pilot.press("ctrl+s")
        await until(pilot, lambda: screen.app.screen is screen)
        assert screen.state.draft.recipe().loss.beta == 0.3
        assert box(screen.settings, "loss.beta").value == "0.3"


async def test_a_shipped_recipe_is_loaded(folder: Path) -> None:
    async with form(folder) as (pilot, screen):
        await pilot.press("ctrl+o")
        await until(pilot, lambda: isinstance(screen.app.screen, LoadRecipe))
        await pilot.press("enter")
        await until(pilot, lambda: screen.app.screen is screen)
        file = recipe_folder() / "demo.toml"
        assert screen.state.draft.recipe() == build(read_toml(file), "test")


@pytest.mark.slow
async def test_a_recipe_is_saved_and_loaded_again(folder: Path) -> None:
    async with form(folder, tables=TABLES | {"loss": {"beta": 0.3}}) as (pilot, screen):
        before = screen.state.draft.recipe()
        await go(pilot, screen, 3)
        for replaced in (False, True):
            await pilot.press("w")
            await pilot.pause(0.1)
            screen.app.screen.query_one(Input).value = "mine"
            await pilot.press("enter")
            await pilot.pause(0.1)
            if replaced:
                assert "mine.toml is there already" in text(screen)
                await pilot.press("r")
                await pilot.pause(0.1)
        assert "saved mine.toml" in toasts(screen)
        screen.state.draft.set("loss.beta", "0.9")
        await pilot.press("ctrl+o")
        await until(pilot, lambda: isinstance(screen.app.screen, LoadRecipe))
        screen.app.screen.query_one(Input).focus()
        await pilot.press(*"mine.toml", "enter")
        await until(pilot, lambda: screen.app.screen is screen)
        assert screen.state.draft.recipe() == before.absolute()


@pytest.mark.parametrize("content", [None, "[loss]\nbeta = -1\n", "not toml", "[loss]\ngamma = 1\n"])
async def test_a_recipe_that_cannot_be_loaded_is_one_line(folder: Path, content: str | None) -> None:
    if content:
        Path("bad.toml").write_text(content, encoding="utf-8")
    async with form(folder, (140, 45), tables=TABLES) as (pilot, screen):
        screen._load(Path("bad.toml"))
        await pilot.pause(0.1)
        assert "bad.toml" in toasts(screen)
        assert screen.state.draft.recipe().model.name == "Qwen/Qwen3-0.6B"


async def test_tables_that_are_no_recipe_open_an_empty_form(folder: Path) -> None:
    async with form(folder, (140, 45), tables={"loss": {"gamma": 1}}) as (pilot, screen):
        await pilot.pause(0.1)
        assert "unknown key loss.gamma" in toasts(screen)


@pytest.mark.slow
async def test_arrows_go_round_all_fields(folder: Path) -> None:
    """Past the first one too, where Textual comes to the button at the end."""
    async with form(folder, (140, 45), TABLES) as (pilot, screen):
        await settled(pilot, screen)
        await go(pilot, screen, 2)
        first = screen.focused
        seen: list[object] = []
        while not seen or (seen[-1] is not first and len(seen) < 60):
            await pilot.press("up")
            seen.append(screen.focused)
        assert seen[-1] is first
        assert screen.query_one("#settings-all") in seen
        for _ in seen:
            await pilot.press("down")
        assert screen.focused is first


@pytest.mark.slow
async def test_arrows_pass_the_line_of_all_settings_and_the_first_of_them_is_seen(folder: Path) -> None:
    async with form(folder, tables=TABLES) as (pilot, screen):
        await settled(pilot, screen)
        await go(pilot, screen, 2)
        line = screen.query_one("#settings-all")
        box(screen, "run.name").focus()
        await pilot.press("down")
        await until(pilot, lambda: line.has_focus)
        await until(pilot, lambda: "enter opens all settings" in text(screen))
        await pilot.press("up")
        assert box(screen, "run.name").has_focus
        await pilot.press("f4")
        await until(pilot, lambda: screen.app.focused in screen.query("#settings-more *"))
        opened = screen.app.focused
        await until(pilot, lambda: opened.region in screen.query_one("#settings-fields").region)
        await pilot.press("up")
        await until(pilot, lambda: line.has_focus)
        await pilot.press("down")
        assert screen.app.focused is opened
