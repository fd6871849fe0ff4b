"""The New run screen as a whole: start and leave, anything from outside, every size, and the real parts."""

import asyncio
import re
import sys
from pathlib import Path
from typing import Any

import pytest
from textual.widgets import DataTable

from mio_local.errors import HubError
from mio_local.models import hub
from mio_local.recipe import build, read_toml
from mio_local.runs.directory import Run, list_runs
from mio_tui.app import MioApp
from mio_tui.dialogs import Ask
from mio_tui.new.key_field import Choice
from mio_tui.new.needs import Needs
from tests.helpers.tui import new_run_form
from tests.helpers.tui.new_run_form import (
    HOSTILE,
    TABLES,
    FakePreview,
    field,
    form,
    go,
    on_disk,
    on_hub,
    press_start,
    settled,
    text,
    toasts,
    type_into,
)
from tests.helpers.tui.screens import screen_text, until

folder = new_run_form.folder
shown = new_run_form.shown
launched = new_run_form.launched


async def test_nothing_starts_before_there_is_a_model_and_data(folder: Path, launched: list[Any]) -> None:
    async with form(folder) as (pilot, screen):
        await go(pilot, screen, 3)
        for at in (0, 1):
            await press_start(pilot, screen)
            await pilot.pause()
            assert screen.at == at
            screen.state.draft.choose_model("Qwen/Qwen3-0.6B")
        assert launched == []


async def test_a_start_lays_the_run_out_and_shows_it(
    folder: Path, shown: list[Run], launched: list[list[Run]]
) -> None:
    tables = TABLES | {"loss": {"name": "dpo", "beta": 0.05}}
    async with form(folder, tables=tables, name="mine") as (pilot, screen):
        await settled(pilot, screen)
        await go(pilot, screen, 3)
        await pilot.press("s")
        await until(pilot, lambda: shown)
        assert screen not in screen.app.screen_stack
    [[run]] = launched
    assert shown == [run]
    assert run.path == folder / "mine"
    assert run.read_status()["memory_estimate"] == 3 * 1_200_000_000
    assert run.read_status()["state"] == "queued"
    assert build(read_toml(run.recipe), "test") == build(tables, "test").absolute()


async def test_both_are_queued_one_after_the_other(folder: Path, shown: list[Run], launched: list[list[Run]]) -> None:
    async with form(folder, tables=TABLES) as (pilot, screen):
        await settled(pilot, screen)
        await go(pilot, screen, 2)
        field(screen, "loss.name").query_one(Choice).focus()
        await pilot.press("left")
        await settled(pilot, screen)
        await press_start(pilot, screen)
        await until(pilot, lambda: shown)
    [queue] = launched
    recipes = [build(read_toml(run.recipe), "test") for run in queue]
    assert [(recipe.loss.name, recipe.loss.beta) for recipe in recipes] == [("mio", 0.1), ("dpo", 0.05)]
    assert shown == queue[:1]


async def test_what_does_not_fit_is_asked_once_more(
    folder: Path, shown: list[Run], launched: list[Any], monkeypatch: Any
) -> None:
    monkeypatch.setattr(hub, "on_disk", lambda folders=(): [on_disk("Qwen/Qwen3-0.6B", 20)])
    async with form(folder, (140, 45), tables=TABLES) as (pilot, screen):
        await settled(pilot, screen)
        await go(pilot, screen, 3)
        await press_start(pilot, screen)
        await pilot.pause()
        assert "needs ~60 GB of 27 GB free" in text(screen)
        assert "press s again to start anyway" in text(screen)
        assert launched == []
        await go(pilot, screen, 2)
        await type_into(pilot, screen, "train.seed", "3")  # an edit: what was confirmed is not any more
        await until(pilot, lambda: screen.data.current)  # the seed chooses the held-out pairs
        await settled(pilot, screen)
        await pilot.pause(0.5)
        await settled(pilot, screen)
        await press_start(pilot, screen)
        await pilot.pause()
        assert launched == []
        await press_start(pilot, screen)
        await until(pilot, lambda: shown)


async def test_a_start_that_fails_leaves_nothing_and_the_form_as_it_was(
    folder: Path, shown: list[Run], monkeypatch: Any
) -> None:
    def fails(queue: object, **_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("mio_tui.new.begin.launch", fails)
    async with form(folder, tables=TABLES) as (pilot, screen):
        await settled(pilot, screen)
        await press_start(pilot, screen)
        await until(pilot, lambda: "No space left on device" in toasts(screen))
        assert not screen.state.starting
        assert list_runs(folder) == []
        assert screen.app.screen is screen
    assert shown == []


async def test_the_command_line_is_copied(folder: Path) -> None:
    async with form(folder, tables=TABLES) as (pilot, screen):
        await go(pilot, screen, 3)
        await pilot.press("y")
        assert screen.app._clipboard == "mio-local train --model Qwen/Qwen3-0.6B --data pairs.jsonl"


@pytest.mark.slow
async def test_escape_asks_only_where_something_was_entered(folder: Path) -> None:
    for entered in (False, True):
        async with form(folder, tables=TABLES) as (pilot, screen):
            if entered:
                await go(pilot, screen, 2)
                await type_into(pilot, screen, "loss.beta", "0.7")
                await pilot.press("escape", "escape")  # back to the first step
            await pilot.press("escape")
            await pilot.pause(0.1)
            assert isinstance(screen.app.screen, Ask) == entered
            if entered:
                await pilot.press("escape")
                await pilot.pause(0.1)
                assert screen.app.screen is screen
                await pilot.press("escape")
                await pilot.pause(0.1)
                await pilot.press("l")
                await pilot.pause(0.1)
            assert screen not in screen.app.screen_stack


@pytest.mark.slow
async def test_the_steps_are_reached_by_keys_and_by_the_mouse(folder: Path) -> None:
    async with form(folder, tables=TABLES) as (pilot, screen):
        turns = (("ctrl+n", 1), ("ctrl+n", 2), ("f3", 3), ("ctrl+n", 3), ("escape", 2), ("f2", 1), ("ctrl+s", 3))
        for key, at in turns:
            await pilot.press(key)
            await pilot.pause()
            assert screen.at == at, key
            assert screen.app.focused in screen.step.query("*")
        await pilot.click(list(screen.query(".step-name"))[3])
        await pilot.pause()
        assert screen.at == 3


# anything at all, at every size


def hostile(monkeypatch: Any) -> None:
    """Every text that comes from outside."""
    model = on_disk(HOSTILE, licence=HOSTILE[:300])
    monkeypatch.setattr(hub, "on_disk", lambda folders=(): [model])
    monkeypatch.setattr(hub, "search", lambda query, limit=50: [on_hub(HOSTILE + "2")])
    monkeypatch.setattr(hub, "look", lambda *_: (_ for _ in ()).throw(HubError(HOSTILE)))
    monkeypatch.setattr("mio_tui.new.needs.needs", lambda *_: Needs(unknown=HOSTILE))
    FakePreview.text = HOSTILE.replace("\x1b", r"\u{1b}")[:4000]
    FakePreview.answer = FakePreview.answer | {
        "layout": HOSTILE, "shows": HOSTILE, "columns": {"prompt": "a[/x]", "chosen": HOSTILE},
        "available": ["a[/x]", HOSTILE, "b"],
    }  # fmt: skip
    FakePreview.summarised = FakePreview.summarised | {"warnings": [HOSTILE], "stops": HOSTILE}


@pytest.mark.slow
async def test_nothing_from_outside_is_markup_or_reaches_the_terminal_raw(folder: Path, monkeypatch: Any) -> None:
    hostile(monkeypatch)
    Path("[red]x[bold] \x1b[31m.jsonl").touch()
    tables = {"model": {"name": HOSTILE[:2000]}, "data": {"source": "[/INST].jsonl", "system": HOSTILE[:2000]}}
    async with form(folder, (140, 45), tables=tables, name="[/b]") as (pilot, screen):
        await until(pilot, lambda: screen.state.data.summary)
        for at in range(4):
            await go(pilot, screen, at)
            await pilot.pause(0.2)
            assert "[/INST]" in text(screen) or at == 2
            assert "\x1b" not in text(screen)
        await go(pilot, screen, 0)
        await pilot.press(*"[/x")
        await until(pilot, lambda: screen.models.rows and not screen.models.looking and not screen.models.error)
        await go(pilot, screen, 1)
        screen.state.draft.set("data.source", "")
        screen.data.tell()
        await pilot.pause()
        assert r"[red]x[bold] \u{1b}[31m.jsonl" in text(screen)
        for key in ("ctrl+o", "escape", "ctrl+s", "e", "escape", "w", "escape", "s", "f1", "escape"):
            await pilot.press(key)
            await pilot.pause(0.1)
            assert "\x1b" not in text(screen)


@pytest.mark.slow
async def test_every_size_is_drawn(folder: Path) -> None:
    async with form(folder, tables=TABLES) as (pilot, screen):
        await settled(pilot, screen)
        for size in ((20, 5), (60, 16), (80, 24), (110, 32), (140, 45), (250, 80)):
            await pilot.resize_terminal(*size)
            for at in range(4):
                await go(pilot, screen, at)
                await pilot.pause()
                shown = screen_text(screen.app)
                assert len(shown) == size[1]
                if size[0] < 60:
                    assert "New run:" in shown[0]
                else:
                    assert shown[0].startswith("  New run   1 Model ✓  2 Data ✓")


@pytest.mark.slow
async def test_a_resize_changes_the_columns_of_the_list(folder: Path) -> None:
    async with form(folder) as (pilot, screen):
        for size, head in (((140, 45), "licence"), ((80, 24), ""), ((140, 45), "licence")):
            await pilot.resize_terminal(*size)
            await pilot.pause(0.1)
            assert ("licence" in screen_text(screen.app)[4]) == bool(head)
            assert screen.query_one(DataTable).row_count == 2


# the real parts


@pytest.mark.slow
async def test_a_run_is_set_up_with_the_real_preview_and_trains(
    tmp_path: Path, tiny_model: Path, tiny_pairs: Path, monkeypatch: Any
) -> None:
    monkeypatch.setenv("MIO_LOCAL_RUNS", str(tmp_path / "runs"))
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    shown: list[Run] = []
    monkeypatch.setattr(MioApp, "show_run", lambda self, run: shown.append(run))
    tables = {
        "model": {"name": str(tiny_model)}, "backend": {"device": "cpu"}, "train": {"steps": 2},
        "eval": {"sample_tokens": 0},
    }  # fmt: skip
    async with form(tmp_path / "runs", (140, 45), tables=tables) as (pilot, screen):
        await go(pilot, screen, 1)
        await type_into(pilot, screen, "data.source", str(tiny_pairs))
        await until(pilot, lambda: screen.state.data.summary, 60)
        await pilot.pause()
        assert "pair 1 of 24 · pairs.jsonl line 1" in text(screen)
        assert re.search(r"I│t│ │i│s│ │1│\.│<\|im_end\|>", text(screen))
        assert "2 Data ✓" in text(screen)
        await until(pilot, lambda: screen.state.needs, 20)
        assert screen.state.needs.total > 0
        await press_start(pilot, screen)
        await until(pilot, lambda: shown or screen.confirmed, 10)
        if not shown:
            await press_start(pilot, screen)
            await until(pilot, lambda: shown, 10)
        [run] = shown
        await until(pilot, lambda: run.read_status()["state"] in ("done", "failed"), 120)
        assert run.read_status()["state"] == "done", run.log.read_text()
        assert run.read_status()["step"] == 2


@pytest.mark.slow
async def test_the_form_loads_no_array_library() -> None:
    code = (
        "import sys, mio_tui.new.screen; heavy = {'torch', 'mlx', 'transformers', 'datasets', "
        "'mio_local.training.prepare', 'mio_local.training.loop', 'mio_local.commands'} & set(sys.modules); "
        "sys.exit(str(heavy) if heavy else 0)"
    )
    here = Path(__file__).parents[3]
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", code, stderr=asyncio.subprocess.PIPE,
        env={"PYTHONPATH": f"{here}:{here / 'tui'}", "PATH": "/usr/bin"},
    )  # fmt: skip
    _, error = await process.communicate()
    assert process.returncode == 0, error.decode()
