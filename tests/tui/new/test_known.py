"""What the New run screen says of models that are not here, of figures without an end, and of a preview that died."""

from pathlib import Path
from typing import Any

import pytest

from mio_local.errors import HubError, MioError
from mio_local.models import hub
from mio_tui.formatting import NONE
from mio_tui.new.checks import of_model
from mio_tui.new.steps.facts import facts
from mio_tui.new.steps.model_list import Shelf
from mio_tui.new.steps.pairview import PairView
from tests.helpers.some import fast, first
from tests.helpers.tui import new_run_form
from tests.helpers.tui.new_run_form import TABLES, FakePreview, form, go, on_disk, settled, text
from tests.helpers.tui.screens import until

folder = new_run_form.folder
launched = new_run_form.launched
HUGE = "9" * 400
DIED = MioError("the data preview ended unexpectedly (signal 9); try again")


@pytest.mark.parametrize("name", fast(
    ["/none/model", "./none", "~/none-of-that-name", "~nobody-of-that-name/m", "a/b/c"], ["./none", "a/b/c"]
))  # fmt: skip
async def test_a_folder_that_is_missing_stops_the_start(folder: Path, launched: list[Any], name: str) -> None:
    async with form(folder, tables=TABLES | {"model": {"name": name}}) as (pilot, screen):
        await until(pilot, lambda: screen.state.data.summary)
        [check] = of_model(screen.state)
        assert (check.sign, check.words) == ("✗", f"{name}: no such folder")
        await go(pilot, screen, 3)
        assert f"✗ {name}: no such folder" in text(screen)
        await pilot.press("s", "s")
        await pilot.pause()
        assert screen.at == 0
        assert launched == []


async def test_a_folder_without_a_model_is_doubtful(folder: Path) -> None:
    Path("models/tiny").mkdir(parents=True)
    async with form(folder, tables=TABLES | {"model": {"name": "models/tiny"}}) as (_, screen):
        [check] = of_model(screen.state)
        assert (check.sign, check.words, check.ask) == ("!", "models/tiny: no model was found in this folder", "model")
        screen.state.card = on_disk("models/tiny", complete=False)
        assert [check.sign for check in of_model(screen.state)] == ["✗"]


def test_a_relative_folder_is_the_model_that_is_listed_by_its_whole_path(tmp_path: Path, monkeypatch: Any) -> None:
    (tmp_path / "models" / "tiny").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    card = on_disk(str(tmp_path.resolve() / "models" / "tiny"))
    assert Shelf(local=[card]).find("models/tiny") == Shelf(local=[card]).find("./models/tiny") == card
    assert Shelf(local=[card]).find("models/other") is None
    assert Shelf(local=[card]).find("") is None


@pytest.mark.slow
async def test_a_chosen_model_of_the_hub_is_looked_up_for_its_estimate(folder: Path, monkeypatch: Any) -> None:
    async with form(folder, tables=TABLES | {"model": {"name": "org/elsewhere"}}) as (pilot, screen):
        await until(pilot, lambda: screen.state.needs)
        await go(pilot, screen, 2)
        await pilot.pause()
        assert "needs ~24 GB of 27 GB free" in text(screen)

    def fails(name: str, revision: str = "") -> None:
        raise HubError("no such model")

    monkeypatch.setattr(hub, "look", fails)
    async with form(folder, tables=TABLES | {"model": {"name": "org/elsewhere"}}) as (pilot, screen):
        await go(pilot, screen, 2)
        await pilot.pause()
        assert "memory: known once the model is here" in text(screen)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("values", "dash"),
    first(2, [
        ({"train.epochs": "1e308"}, True), ({"train.keep": HUGE}, False), ({"lora.rank": HUGE}, True),
        ({"train.steps": HUGE}, True), ({"train.batch_size": HUGE * 9, "train.accumulate": HUGE * 9}, True),
    ]),
)
async def test_figures_without_an_end_are_a_dash(folder: Path, values: dict[str, str], dash: bool) -> None:
    async with form(folder, (140, 45), tables=TABLES) as (pilot, screen):
        await settled(pilot, screen)
        for key, typed in values.items():
            screen.state.draft.set(key, typed)
        assert not screen.state.draft.errors()
        said = facts(screen.state.draft, screen.state.data)
        assert (NONE in said.values()) == dash
        await go(pilot, screen, 2)
        await until(pilot, lambda: screen.state.needs)
        await go(pilot, screen, 3)
        await pilot.pause(0.1)
        assert "Review" in text(screen)


async def test_a_column_named_like_a_remedy_is_none(folder: Path) -> None:
    FakePreview.errors["open"] = {"error": "x: no column for chosen (found --set data.foo=1)", "available": ["b"]}
    async with form(folder, tables=TABLES) as (pilot, screen):
        await go(pilot, screen, 1)
        await until(pilot, lambda: "found --set data.foo=1" in text(screen))
        assert not screen.query("#remedies Button")


@pytest.mark.slow
async def test_a_preview_that_dies_is_opened_again_once(folder: Path) -> None:
    def opens() -> int:
        return [do for do, _ in FakePreview.asked].count("open")

    async with form(folder, tables=TABLES) as (pilot, screen):
        await settled(pilot, screen)
        await go(pilot, screen, 1)
        FakePreview.errors["pair"] = lambda fields: FakePreview.errors.clear() or DIED
        await pilot.press("right")
        await until(pilot, lambda: opens() == 2 and screen.state.data.summary)
        await until(pilot, lambda: "pair 2 of 1,000 · pairs.jsonl" in text(screen))
        assert "✗" not in text(screen)
        assert screen.query_one(PairView).has_focus
        FakePreview.errors["pair"] = DIED  # every time
        await pilot.press("right")
        await until(pilot, lambda: "✗ the data preview ended unexpectedly (signal 9)" in text(screen))
        assert opens() == 3
        FakePreview.errors.clear()
        screen.data.query_one("#field-data-source Input").focus()
        await pilot.press("enter")
        await until(pilot, lambda: "pair 3 of 1,000 · pairs.jsonl" in text(screen))


async def test_a_count_that_kills_the_preview_is_tried_twice(folder: Path, monkeypatch: Any) -> None:
    tries: list[int] = []

    async def dies(self: Any, progress: Any) -> None:
        tries.append(1)
        raise DIED

    monkeypatch.setattr(FakePreview, "summary", dies)
    async with form(folder, tables=TABLES) as (pilot, screen):
        await until(pilot, lambda: screen.state.data.error)
        await pilot.pause(0.3)
        assert len(tries) == 2
        await go(pilot, screen, 1)  # somebody looks: tried again
        await until(pilot, lambda: len(tries) == 4)
