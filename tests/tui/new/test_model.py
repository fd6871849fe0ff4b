"""The first step of the New run screen: models, the hub, and the download."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from mio_local.errors import HubError
from mio_local.models import hub
from mio_local.runs.directory import Run
from mio_tui.dialogs import Ask
from mio_tui.new.needs import Needs
from mio_tui.new.steps.model_step import ModelStep
from tests.helpers.tui import new_run_form
from tests.helpers.tui.new_run_form import (
    TABLES,
    choose_remote,
    downloader,
    form,
    on_disk,
    on_hub,
    press_start,
    text,
    toasts,
)
from tests.helpers.tui.screens import screen_text, until

folder = new_run_form.folder
shown = new_run_form.shown
launched = new_run_form.launched


async def test_typing_filters_at_once_and_asks_the_hub_when_it_pauses(folder: Path, monkeypatch: Any) -> None:
    asked: list[str] = []
    monkeypatch.setattr(hub, "search", lambda query, limit=50: asked.append(query) or [on_hub("org/llama-9b")])
    monkeypatch.setattr("mio_tui.new.steps.model_search.SEARCH_PAUSE", 2)
    async with form(folder) as (pilot, screen):
        await pilot.press(*"1.7")
        await until(pilot, lambda: "Qwen3-1.7B" in text(screen) and "Qwen3-0.6B" not in text(screen))
        assert "searching the hub" in text(screen)
        assert asked == []
        await until(pilot, lambda: "org/llama-9b" in text(screen))
        assert asked == ["1.7"]
        assert text(screen).index("Qwen3-1.7B") < text(screen).index("org/llama-9b")


async def test_one_letter_is_no_search(folder: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr(hub, "search", lambda query, limit=50: pytest.fail("searched"))
    async with form(folder) as (pilot, screen):
        await pilot.press("q")
        await pilot.pause(0.6)
        assert "Qwen3-0.6B" in text(screen)


@pytest.mark.parametrize(
    "message",
    [
        "hub search: the hub is unreachable (no route); give a local folder",
        "hub search: the hub limits requests; wait 30 s, or log in with: hf auth login",
        "hub search: the answer is not the hub's (a proxy's page?); check the network and HF_ENDPOINT",
    ],
)
async def test_what_the_hub_refuses_is_one_line_below_the_local_models(
    folder: Path, monkeypatch: Any, message: str
) -> None:
    def fails(query: str, limit: int = 50) -> list[Any]:
        if query == "qwenx":
            return []
        raise HubError(message)

    monkeypatch.setattr(hub, "search", fails)
    async with form(folder, (140, 45)) as (pilot, screen):
        await pilot.press(*"qwen")
        await until(pilot, lambda: message in text(screen))
        assert "Qwen3-0.6B" in text(screen)
        await pilot.press(*"x")  # another try clears it
        await until(pilot, lambda: message not in text(screen))


async def test_enter_takes_a_folder_that_is_typed_and_leads_on(
    folder: Path, tiny_model: Path, monkeypatch: Any
) -> None:
    monkeypatch.undo()
    monkeypatch.setattr("mio_tui.new.needs.needs", lambda *_: Needs())
    monkeypatch.setenv("HF_HUB_CACHE", str(folder))
    async with form(folder, (140, 45)) as (pilot, screen):
        screen.query_one("#query").value = str(tiny_model)
        await pilot.pause()
        for key in ("enter", *"pairs"):  # with no time between them
            pilot.app.simulate_key(key)
        await until(pilot, lambda: screen.at == 1)
        assert screen.state.draft.text("model.name") == str(tiny_model)
        await until(pilot, lambda: screen.state.draft.text("data.source") == "pairs")
        await pilot.press("escape")
        await until(pilot, lambda: screen.at == 0)
        screen.query_one("#query").value = str(tiny_model / "none")
        await until(pilot, lambda: "no such folder" in text(screen))
        screen.query_one("#query").value = "~nobody-of-that-name/x"
        await until(pilot, lambda: "✗ ~nobody" in text(screen))


async def test_a_list_that_is_filled_before_it_hears_of_its_new_width(folder: Path) -> None:
    """Rows of one width did not go into the columns of another: the estimate ended there, without a word."""
    async with form(folder, (140, 45)) as (pilot, screen):
        await until(pilot, lambda: screen.models.rows)
        table = screen.models.table
        wide = [str(column.label) for column in table.ordered_columns]
        table.clear(columns=True)
        table.add_column("of a narrow list")
        screen.models.fill()
        assert [str(column.label) for column in table.ordered_columns] == wide
        assert table.row_count == len(screen.models.rows)


async def test_enter_chooses_and_enter_again_goes_on(folder: Path) -> None:
    async with form(folder) as (pilot, screen):
        assert "1 Model ✓" not in text(screen)
        await pilot.press("down", "down", "enter")
        await pilot.pause()
        assert screen.state.draft.recipe().model.name == "Qwen/Qwen3-1.7B"
        assert "●▪" in text(screen)
        assert "1 Model ✓" in text(screen)
        assert screen.at == 0
        await pilot.press("enter")
        await pilot.pause()
        assert screen.at == 1


async def test_a_gated_model_is_marked(folder: Path) -> None:
    async with form(folder) as (pilot, screen):
        await pilot.press(*"qw")
        await until(pilot, lambda: "Llama-3.2-1B" in text(screen))
        row = next(line for line in screen_text(screen.app) if "Llama-3.2-1B" in line)
        assert "gated" in row
        assert "↓" in row


async def test_a_model_on_the_hub_is_looked_at_when_it_is_highlighted(folder: Path) -> None:
    async with form(folder) as (pilot, screen):
        await pilot.press(*"4b")
        await until(pilot, lambda: "Qwen3-4B" in text(screen))
        assert "~ 24 GB" not in text(screen)  # its shape is not known yet
        await until(pilot, lambda: "~ 24 GB" in text(screen))


async def test_a_download_shows_its_progress_and_ends(folder: Path, tmp_path: Path, monkeypatch: Any) -> None:
    part = {"done": 4_300_000_000, "total": 10_000_000_000, "file": "a"}
    gate = tmp_path / "gate"
    told = downloader(tmp_path, monkeypatch, part, {"folder": "/x"}, gate=gate)
    async with form(folder, (140, 45)) as (pilot, screen):
        await choose_remote(pilot, screen)
        assert "8.0 GB to download, 120 GB free" in text(screen)
        await pilot.press("d")
        await until(pilot, lambda: "43% · 4.3 GB of 10 GB" in text(screen))
        gate.touch()
        await until(pilot, lambda: screen.state.download.state == "done")
        assert screen.state.draft.text("model.name") == "Qwen/Qwen3-4B-Instruct-2507"
    assert json.loads(told.read_text()) == ["--", "Qwen/Qwen3-4B-Instruct-2507"]


@pytest.mark.slow
async def test_escape_stops_a_download_and_enter_resumes_it(folder: Path, tmp_path: Path, monkeypatch: Any) -> None:
    told = downloader(tmp_path, monkeypatch, {"done": 43, "total": 100, "file": "a"}, wait=True)
    async with form(folder, (140, 45)) as (pilot, screen):
        await choose_remote(pilot, screen)
        await pilot.press("d")
        await until(pilot, lambda: "43%" in text(screen))
        process = screen.state.download._process
        await pilot.press("escape")
        await until(pilot, lambda: process.returncode is not None, 2)
        assert screen.app.screen is screen
        assert "stopped at 43%; what has arrived is kept" in text(screen)
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(screen.app.screen, Ask))
        await pilot.press("d")
        await until(pilot, lambda: screen.state.download.done == 43)
        assert len(told.read_text().splitlines()) == 2
        again = screen.state.download._process
    assert await asyncio.wait_for(again.wait(), 20) is not None  # leaving the app ends it


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ({"error": "org/x: gated; accept its terms on its page\x1b[31m"}, r"gated; accept its terms on its page\u{1b}"),
        ({"nonsense": 1}, "the download ended (code 0); what has arrived is kept"),
    ],
)
async def test_a_download_that_fails_says_why(
    folder: Path, tmp_path: Path, monkeypatch: Any, line: dict[str, Any], words: str
) -> None:
    downloader(tmp_path, monkeypatch, line)
    async with form(folder, (140, 45)) as (pilot, screen):
        await choose_remote(pilot, screen)
        await pilot.press("d")
        await until(pilot, lambda: screen.state.download.state == "failed")
        await pilot.pause()
        assert words in text(screen)


async def test_a_partial_model_is_shown_as_such(folder: Path, monkeypatch: Any) -> None:
    partial = on_disk("Qwen/Qwen3-8B", 4.3, complete=False)
    monkeypatch.setattr(hub, "on_disk", lambda folders=(): [partial])
    monkeypatch.setattr(hub, "look", lambda name, revision="": on_hub(name, 10, config={"hidden_size": 1}))
    async with form(folder, size=(100, 30)) as (pilot, screen):  # with room for it beside the memory
        await until(pilot, lambda: "partial 43%" in text(screen))
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(screen.app.screen, Ask))


async def test_a_row_drawn_as_soon_as_it_is_known_has_room_for_its_words(folder: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr(hub, "on_disk", lambda folders=(): [on_disk("Qwen/Qwen3-8B", 4.3, complete=False)])
    monkeypatch.setattr(hub, "look", lambda name, revision="": on_hub(name, 0))
    async with form(folder, size=(100, 30)) as (pilot, screen):
        await until(pilot, lambda: "partial " in text(screen))
        step = screen.query_one(ModelStep)
        step.shelf.looked["Qwen/Qwen3-8B"] = on_hub("Qwen/Qwen3-8B", 10)
        step.fill()
        drawn = "".join(segment.text for segment in step.table.render_line(1))  # before the table had an idle moment
        assert "partial 43%" in drawn


@pytest.mark.slow
async def test_a_start_waits_for_the_download(
    folder: Path, tmp_path: Path, shown: list[Run], launched: list[Any], monkeypatch: Any
) -> None:
    downloader(tmp_path, monkeypatch, *[{"done": n, "total": 9, "file": "a"} for n in range(9)], {"folder": "/x"})
    async with form(folder, tables={"data": TABLES["data"]}) as (pilot, screen):
        await choose_remote(pilot, screen)
        await pilot.press("d")
        await until(pilot, lambda: screen.state.data.summary)
        await press_start(pilot, screen)
        await pilot.pause()
        assert "starts when it is here" in toasts(screen)
        assert launched == []
        await until(pilot, lambda: shown)
