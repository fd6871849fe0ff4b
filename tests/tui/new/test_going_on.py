"""What is on the screen is what Next takes, or Next says why not; keys do what they do elsewhere."""

from pathlib import Path
from typing import Any

import pytest
from textual.widgets import Input

from tests.helpers.some import first
from tests.helpers.tui import new_run_form
from tests.helpers.tui.new_run_form import TABLES, box, form, go, on_disk, settled, text, toasts, type_into
from tests.helpers.tui.screens import until

folder = new_run_form.folder
shown = new_run_form.shown
launched = new_run_form.launched


@pytest.fixture
def other(monkeypatch: pytest.MonkeyPatch) -> Any:
    """A second model, in a folder of its own."""
    card = on_disk("/models/other")
    monkeypatch.setattr("mio_tui.new.stock.models_at", lambda typed: ([card], "") if typed == "/models/other" else
                        ([], f"{typed}: no such folder"))  # fmt: skip
    return card


@pytest.mark.parametrize("key", ["ctrl+n", "ctrl+s", "f3"])
async def test_a_path_that_is_typed_after_a_choice_is_taken(folder: Path, other: Any, key: str) -> None:
    async with form(folder, tables=TABLES) as (pilot, screen):
        await settled(pilot, screen)
        await pilot.press(*"/models/other", key)
        await until(pilot, lambda: screen.at > 0)
        assert screen.state.draft.text("model.name") == "/models/other"


async def test_a_path_without_a_model_is_said_and_stays(folder: Path, other: Any) -> None:
    async with form(folder, tables=TABLES) as (pilot, screen):
        await settled(pilot, screen)
        await pilot.press(*"/models/none")
        await until(pilot, lambda: "1 Model ✓" not in text(screen))
        await pilot.press("ctrl+n")
        await until(pilot, lambda: "/models/none: no such folder" in toasts(screen))
        assert screen.at == 0
        await pilot.press(*["backspace"] * len("/models/none"), "ctrl+n")
        await until(pilot, lambda: screen.at == 1)
        assert screen.state.draft.text("model.name") == TABLES["model"]["name"]


async def test_what_is_typed_and_not_chosen_does_not_start(folder: Path, other: Any, launched: list[Any]) -> None:
    async with form(folder, tables=TABLES) as (pilot, screen):
        await settled(pilot, screen)
        await pilot.press(*"/models/none")
        await go(pilot, screen, 3)
        await pilot.press("s")
        await until(pilot, lambda: "/models/none was typed and is not chosen" in toasts(screen))
        assert launched == []


async def test_enter_leads_from_field_to_field_and_on(folder: Path) -> None:
    async with form(folder, tables=TABLES) as (pilot, screen):
        await settled(pilot, screen)
        await go(pilot, screen, 2)
        await pilot.press(*"0.3", "enter", *"2e-4", "down", "up", "enter", *"2", "enter")
        values = [box(screen.settings, key).value for key in ("loss.beta", "train.learning_rate", "train.epochs")]
        assert values == ["0.3", "2e-4", "2"]
        box(screen.settings, "run.name").focus()
        await pilot.press("enter")
        await until(pilot, lambda: screen.at == 3)


@pytest.mark.slow
async def test_enter_opens_the_data_first_and_leads_one_step_on(folder: Path) -> None:
    async with form(folder, tables={"model": TABLES["model"]}) as (pilot, screen):
        await go(pilot, screen, 1)
        await pilot.press(*"org/data", "enter")
        await until(pilot, lambda: screen.state.data.opened)
        assert screen.app.focused is box(screen, "data.source")
        await pilot.press("enter")
        assert screen.app.focused is box(screen, "data.eval_source")
        box(screen, "data.max_tokens").focus()
        await pilot.press("enter")
        await until(pilot, lambda: screen.at > 1)
        await pilot.pause(0.1)
        assert screen.at == 2


async def test_the_keys_of_text_edit_text(folder: Path) -> None:
    async with form(folder, tables=TABLES) as (pilot, screen):
        await go(pilot, screen, 1)
        await type_into(pilot, screen, "data.eval_source", "one two")
        for key, value in (("ctrl+left", "one two"), ("ctrl+w", "two"), ("ctrl+e", "two"), ("ctrl+u", "")):
            await pilot.press(key)
            assert screen.at == 1
            assert isinstance(screen.app.focused, Input)
            assert screen.app.focused.value == value


async def test_tab_completes_a_path_and_leads_on_from_a_whole_one(folder: Path) -> None:
    Path("here and there").mkdir()
    Path("here and there/pairs-1.jsonl").touch()
    Path("here and there/pairs-2.jsonl").touch()
    async with form(folder, tables={"model": TABLES["model"]}) as (pilot, screen):
        await go(pilot, screen, 1)
        source = box(screen, "data.source")
        for typed, seen in (("./he", ""), ("", "pairs-"), ("2", "pairs-2.jsonl")):
            await pilot.press(*typed, "tab")
            assert source.value == f"./here and there/{seen}"
        assert screen.app.focused is source
        await pilot.press("tab")
        assert screen.app.focused is not source


@pytest.mark.parametrize(
    ("key", "value", "words"),
    first(1, [
        ("loss.beta", "100000", "beta 100000 is 1,000,000 times the usual 0.1"),
        ("train.learning_rate", "1", "learning rate 1 is 100,000 times the usual 1e-05"),
        ("train.batch_size", "4000", "pairs an update 4000 is 250 times the usual 16"),
        ("data.max_tokens", "8", "max tokens 8 is one 128th of the usual 1024"),
    ]),
)
async def test_what_is_far_from_the_usual_is_asked_once_more(
    folder: Path, launched: list[Any], shown: list[Any], key: str, value: str, words: str
) -> None:
    async with form(folder, tables=TABLES) as (pilot, screen):
        await settled(pilot, screen)
        await go(pilot, screen, 2)
        await type_into(pilot, screen, key, value)
        await until(pilot, lambda: screen.data.current)
        await settled(pilot, screen)
        await pilot.press("ctrl+s")
        await until(pilot, lambda: words in text(screen))
        assert launched == []
        await pilot.press("s")
        await until(pilot, lambda: words in toasts(screen))
        assert launched == []
        await pilot.press("s")
        await until(pilot, lambda: launched)


async def test_a_file_of_held_out_pairs_beside_the_data_is_offered(folder: Path) -> None:
    Path("valid.jsonl").write_text("{}\n", encoding="utf-8")
    async with form(folder, tables=TABLES) as (pilot, screen):
        await settled(pilot, screen)
        await go(pilot, screen, 1)
        await until(pilot, lambda: "valid.jsonl is here: hold it out" in text(screen))
        screen.query_one("Remedies Button").focus()
        await pilot.press("enter")
        await until(pilot, lambda: screen.state.draft.text("data.eval_source") == "valid.jsonl")
        await until(pilot, lambda: "is here: hold it out" not in text(screen))
