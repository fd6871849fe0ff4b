"""The second step of the New run screen: the pairs."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
from textual.widgets import OptionList, Static

from mio_local.errors import MioError
from mio_tui.new.state import Data
from mio_tui.new.steps.columns import ColumnSelect
from mio_tui.new.steps.data_list import DataList
from mio_tui.new.steps.pair import facts_text
from mio_tui.new.steps.pairview import PairView
from tests.helpers.tui import new_run_form
from tests.helpers.tui.new_run_form import TABLES, FakePreview, box, form, go, press_start, settled, text, type_into
from tests.helpers.tui.screens import until

folder = new_run_form.folder
launched = new_run_form.launched


async def test_a_file_of_this_folder_is_chosen_from_the_list(folder: Path) -> None:
    async with form(folder, tables={"model": TABLES["model"]}) as (pilot, screen):
        await go(pilot, screen, 1)
        await until(pilot, lambda: "pairs.jsonl" in text(screen))
        screen.query_one("#files", OptionList).focus()
        await pilot.press("enter")
        await settled(pilot, screen)
        assert screen.state.draft.text("data.source") == "pairs.jsonl"
        assert box(screen, "data.source").value == "pairs.jsonl"
        assert "pair 1 of 1,000 · pairs.jsonl line 1" in text(screen)
        assert "2 Data ✓" in text(screen)
        opened = dict(FakePreview.asked)["open"]
        assert opened["data"] == screen.state.draft.recipe().data.model_dump()
        assert opened["model"]["name"] == "Qwen/Qwen3-0.6B"


async def test_down_leads_to_the_list_of_what_is_here_and_from_field_to_field_once_it_is_gone(folder: Path) -> None:
    async with form(folder) as (pilot, screen):
        await go(pilot, screen, 1)
        files = screen.query_one(DataList)
        await until(pilot, lambda: files.listed)
        await pilot.press("down")
        assert files.has_focus
        await pilot.press("enter")
        await until(pilot, lambda: screen.query_one(PairView).has_focus)
        assert screen.state.draft.text("data.source") == "pairs.jsonl"
        await pilot.press("right")
        await until(pilot, lambda: "pair 2 of 1,000" in text(screen))
        box(screen, "data.source").focus()
        await pilot.press("down")
        assert box(screen, "data.eval_source").has_focus


async def test_a_name_on_the_hub_waits_for_enter(folder: Path) -> None:
    async with form(folder) as (pilot, screen):
        await go(pilot, screen, 1)
        await type_into(pilot, screen, "data.source", "org/pairs")
        await pilot.pause(0.6)
        assert FakePreview.asked == []
        await pilot.press("enter")
        await until(pilot, lambda: FakePreview.asked)
        await until(pilot, lambda: "choose a model first" in text(screen))


def test_columns_that_are_not_used_are_named() -> None:
    shown = facts_text(Data(opened={"pairs": 3, "rows": 3, "unused": ["source", "[b]id"]})).plain
    assert "not used: source, [b]id" in shown.splitlines()


async def test_busy_is_said_and_the_form_goes_on(folder: Path) -> None:
    FakePreview.hold = asyncio.Event()
    async with form(folder, tables=TABLES) as (pilot, screen):
        await go(pilot, screen, 1)
        await pilot.pause()
        assert "opening pairs.jsonl" in text(screen)
        assert "2 Data ✓" not in text(screen)
        await type_into(pilot, screen, "data.limit", "7")
        assert screen.state.draft.value("data.limit") == 7
        FakePreview.hold.set()
        await settled(pilot, screen)
        assert "opening" not in text(screen)


async def test_the_pairs_are_turned_by_keys(folder: Path) -> None:
    async with form(folder, tables=TABLES) as (pilot, screen):
        await settled(pilot, screen)
        await go(pilot, screen, 1)
        view = screen.query_one(PairView)
        await until(pilot, lambda: view.has_focus)
        turns = {"right": 1, "n": 2, "pagedown": 12, "p": 11, "left": 10, "pageup": 0, "end": 999}
        for key, row in turns.items():
            await pilot.press(key)
            await until(pilot, lambda row=row: f"pair {row + 1:,} of 1,000 · pairs.jsonl" in text(screen))
        await pilot.press("pagedown")
        assert view.row == 999
        await pilot.press("home")
        await until(pilot, lambda: "What is 0" in text(screen))


async def test_tokens_are_told_apart_without_colour(folder: Path) -> None:
    async with form(folder, tables=TABLES) as (pilot, screen):
        await settled(pilot, screen)
        shown = screen.query_one("#pair-text", Static).content
        styles = {shown.plain[span.start : span.end]: str(span.style) for span in shown.spans}
        assert styles["right"] == "underline"
        assert styles["<|im_end|>"] == "underline bold"
        assert styles["<|im_start|>"] == "dim bold"
        assert styles["What is 0"] == "dim"
        assert "900 tokens, scored, end cut" in shown.plain
        assert "… 898 more tokens" in shown.plain


async def test_a_column_is_changed_and_the_pairs_are_read_anew(folder: Path) -> None:
    async with form(folder, tables=TABLES) as (pilot, screen):
        await settled(pilot, screen)
        await go(pilot, screen, 1)
        await pilot.pause()
        chosen = next(select for select in screen.query(ColumnSelect) if select.role == "chosen")
        assert chosen.value == "good"
        chosen.focus()
        await pilot.press("enter", "down", "down", "enter")
        await until(pilot, lambda: screen.state.draft.value("data.columns") == {"chosen": "better"})
        await until(pilot, lambda: FakePreview.asked[-1][0] == "pair")
        opened = [fields for do, fields in FakePreview.asked if do == "open"]
        assert opened[-1]["data"]["columns"] == {"chosen": "better"}


async def test_columns_that_make_no_pair_are_named_and_can_be_chosen(folder: Path) -> None:
    FakePreview.errors["open"] = lambda fields: {} if fields["data"]["columns"] else {
        "error": "pairs.jsonl: no column for chosen", "available": ["a", "b[/x]"], "roles": ["chosen"],
    }  # fmt: skip
    async with form(folder, tables=TABLES) as (pilot, screen):
        await go(pilot, screen, 1)
        await until(pilot, lambda: "✗ pairs.jsonl: no column for chosen" in text(screen))
        assert "2 Data ✓" not in text(screen)
        chosen = next(select for select in screen.query(ColumnSelect) if select.role == "chosen")
        chosen.focus()
        await pilot.press("enter", "down", "down", "enter")
        await settled(pilot, screen)
        assert screen.state.draft.value("data.columns") == {"chosen": "b[/x]"}
        assert "✗" not in text(screen)


@pytest.mark.parametrize(
    ("stops", "key", "values"),
    [
        ("pairs.jsonl line 3: chosen is empty; repair it, or --set data.bad_rows=skip (2 such rows)", "data.bad_rows",
         ["skip"]),
        ("pairs.jsonl line 7: prompt has 2,000 tokens, --max-tokens is 1,024; raise it, or --set data.long_prompt=skip",
         "data.long_prompt", ["skip", "cut"]),
    ],
)  # fmt: skip
async def test_what_would_stop_the_training_has_its_remedies(
    folder: Path, stops: str, key: str, values: list[str], launched: list[Any]
) -> None:
    FakePreview.summarised = FakePreview.summarised | {"stops": stops}
    async with form(folder, tables=TABLES) as (pilot, screen):
        await settled(pilot, screen)
        await press_start(pilot, screen)
        await pilot.pause()
        assert screen.at == 1
        assert launched == []
        assert stops[:60] in text(screen)
        buttons = list(screen.query("Remedies Button"))
        assert [button.name for button in buttons] == [f"{key}={value}" for value in values]
        FakePreview.summarised = FakePreview.summarised | {"stops": ""}
        buttons[-1].focus()
        await pilot.press("enter")
        await until(pilot, lambda: screen.state.draft.text(key) == values[-1])
        await until(pilot, lambda: "2 Data ✓" in text(screen))


async def test_a_preview_that_died_is_said_and_asked_again(folder: Path) -> None:
    FakePreview.errors["open"] = MioError("the data preview ended unexpectedly (signal 9); try again")
    async with form(folder, tables=TABLES) as (pilot, screen):
        await go(pilot, screen, 1)
        await until(pilot, lambda: "ended unexpectedly (signal 9)" in text(screen))
        FakePreview.errors.clear()
        await go(pilot, screen, 2)
        await go(pilot, screen, 1)
        await settled(pilot, screen)
        assert "unexpectedly" not in text(screen)


async def test_where_the_model_fails_the_pairs_are_shown_as_text(folder: Path) -> None:
    FakePreview.errors["open"] = lambda fields: {"error": "no tokenizer"} if fields["model"]["name"] else {}
    async with form(folder, tables=TABLES) as (pilot, screen):
        await go(pilot, screen, 1)
        await until(pilot, lambda: "no tokens shown: no tokenizer" in text(screen))
        assert "pair 1 of 1,000" in text(screen)


@pytest.mark.parametrize(("loss", "sent"), [
    ({"name": "dpo"}, {}), ({"name": "kto"}, {"name": "kto", "negatives": 1}),
    ({"name": "mio", "negatives": 3}, {"name": "mio", "negatives": 3}),
])  # fmt: skip
async def test_rows_are_read_as_the_objective_needs_them(
    folder: Path, loss: dict[str, Any], sent: dict[str, Any]
) -> None:
    async with form(folder, tables={**TABLES, "loss": loss}) as (pilot, screen):
        await settled(pilot, screen)
        assert dict(FakePreview.asked)["open"]["loss"] == sent


async def test_the_prompts_of_rounds_are_no_pairs(folder: Path) -> None:
    tables = {**TABLES, "train": {"rounds": 3}, "make": {"judge": "last-number"}}
    async with form(folder, tables=tables) as (pilot, screen):
        await go(pilot, screen, 1)
        await until(pilot, lambda: "prompts, read when the training starts" in text(screen))
        assert FakePreview.asked == []
        await go(pilot, screen, 3)
        await until(pilot, lambda: "prompts of pairs.jsonl, read when the training starts" in text(screen))
        assert "no data is chosen" not in text(screen)
