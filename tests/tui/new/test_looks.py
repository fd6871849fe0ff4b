"""How the New run screen looks."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from textual.widgets import Input

from mio_local.errors import HubError
from mio_local.models import hub
from mio_tui import formatting
from mio_tui.new.key_field import Field
from tests.helpers import fakes
from tests.helpers.tui.new_run_form import TABLES, FakePreview, form, settled, stage
from tests.helpers.tui.screens import Looks, look, screen_text, until

Same = Callable[[Any, Any], Awaitable[None]]
SIZES = ((80, 24), pytest.param((140, 45), marks=pytest.mark.slow))


@pytest.fixture
def folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    """The runs folder of a staged screen, its clock and its cursors stopped."""
    monkeypatch.setattr(formatting, "now", lambda: fakes.NOW)
    monkeypatch.setattr(Input, "cursor_blink", False)
    with stage(monkeypatch, tmp_path) as runs:
        yield runs


@pytest.fixture
def same(snapshot: Any) -> Same:
    """Compare the screen with the one that was kept."""

    async def compare(pilot: Any, screen: Any) -> None:
        looks = ["", look(screen.app)]
        await until(pilot, lambda: "^s Review" in screen_text(screen.app)[-1], 10)  # the footer is drawn last
        while looks[-1] != looks[-2]:
            await pilot.pause(0.2)
            looks.append(look(screen.app))
        assert looks[-1] == snapshot(extension_class=Looks)

    return compare


async def still(pilot: Any, screen: Any, step: int) -> None:
    """Show a step and wait until nothing moves."""
    await settled(pilot, screen)
    await until(pilot, lambda: screen.state.template and screen.state.lasting)
    screen.go(step)
    await until(pilot, lambda: screen.app.focused and screen.step in screen.app.focused.ancestors_with_self)
    before, same = "", 0
    while same < 5:  # a busy machine draws late
        await pilot.pause(0.1)
        now = look(pilot.app)
        before, same = now, same + 1 if now == before else 0


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("step", range(4))
async def test_filled(folder: Path, same: Same, size: tuple[int, int], step: int) -> None:
    async with form(folder, size, TABLES) as (pilot, screen):
        await still(pilot, screen, step)
        await same(pilot, screen)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("step", range(4))
async def test_empty(
    folder: Path, same: Same, monkeypatch: Any, size: tuple[int, int], step: int
) -> None:
    monkeypatch.setattr(hub, "on_disk", lambda folders=(): [])
    Path("pairs.jsonl").unlink()
    async with form(folder, size) as (pilot, screen):
        screen.go(step)
        await pilot.pause(0.3)
        await same(pilot, screen)


@pytest.mark.slow
@pytest.mark.parametrize("size", SIZES)
async def test_the_hub_refuses(folder: Path, same: Same, monkeypatch: Any, size: Any) -> None:
    def fails(query: str, limit: int = 50) -> None:
        raise HubError("hub search: the hub limits requests; wait 30 s, or log in with: hf auth login")

    monkeypatch.setattr(hub, "search", fails)
    async with form(folder, size) as (pilot, screen):
        await pilot.press(*"qwen")
        await until(pilot, lambda: screen.models.error)
        await pilot.pause(0.1)
        await same(pilot, screen)


@pytest.mark.parametrize("size", SIZES)
async def test_the_hub_is_searched(folder: Path, same: Same, size: Any) -> None:
    async with form(folder, size) as (pilot, screen):
        await pilot.press(*"qw")
        await until(pilot, lambda: len(screen.models.rows) == 4)
        await pilot.pause(0.1)
        await same(pilot, screen)


@pytest.mark.slow
@pytest.mark.parametrize("size", SIZES)
async def test_data_that_would_stop_the_training(folder: Path, same: Same, size: Any) -> None:
    stops = "pairs.jsonl line 3: chosen is empty; repair it, or --set data.bad_rows=skip (2 such rows)"
    warning = "the chosen answer is the longer one in 80% of the pairs of unequal length: length alone may be learnt"
    FakePreview.summarised = FakePreview.summarised | {"stops": stops, "warnings": [warning]}
    async with form(folder, size, TABLES) as (pilot, screen):
        await still(pilot, screen, 1)
        await same(pilot, screen)


@pytest.mark.parametrize("size", SIZES)
async def test_data_that_is_being_read(folder: Path, same: Same, size: Any) -> None:
    FakePreview.hold = asyncio.Event()
    async with form(folder, size, TABLES) as (pilot, screen):
        screen.go(1)
        await until(pilot, lambda: screen.state.needs)
        await pilot.pause(0.3)
        await same(pilot, screen)


@pytest.mark.slow
@pytest.mark.parametrize("size", SIZES)
async def test_wrong_settings(folder: Path, same: Same, size: Any) -> None:
    tables = TABLES | {"loss": {"name": "dpo"}}
    async with form(folder, size, tables, "mine") as (pilot, screen):
        await still(pilot, screen, 2)
        fields = {field.key: field.query_one(Input) for field in screen.step.query(Field) if field.query(Input)}
        fields["train.batch_size"].value = "-4"
        fields["loss.beta"].value = "0,1"
        await pilot.pause(0.5)
        await same(pilot, screen)


@pytest.mark.slow
@pytest.mark.parametrize("step", [1, 2])
async def test_light(folder: Path, same: Same, step: int) -> None:
    async with form(folder, (140, 45), TABLES) as (pilot, screen):
        screen.app.theme = "mio-light"
        await still(pilot, screen, step)
        await same(pilot, screen)


@pytest.mark.slow
@pytest.mark.parametrize("step", [1, 2])
async def test_without_colour(
    folder: Path, same: Same, monkeypatch: pytest.MonkeyPatch, step: int
) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    async with form(folder, (80, 24), TABLES) as (pilot, screen):
        await still(pilot, screen, step)
        await same(pilot, screen)
