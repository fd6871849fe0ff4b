"""Starting from the New run screen while something else goes on, and what the start relies on."""

import threading
from pathlib import Path
from typing import Any

import pytest

from mio_local.models import hub
from mio_local.runs.directory import Run
from mio_tui.dialogs import Ask
from mio_tui.new.checks import of_data
from tests.helpers.some import fast
from tests.helpers.tui import new_run_form
from tests.helpers.tui.new_run_form import (
    TABLES,
    FakePreview,
    choose_remote,
    downloader,
    form,
    go,
    on_disk,
    press_start,
    settled,
    text,
    toasts,
    type_into,
)
from tests.helpers.tui.screens import until

folder = new_run_form.folder
shown = new_run_form.shown
launched = new_run_form.launched


@pytest.mark.slow
async def test_what_can_be_no_path_is_told_and_the_form_goes_on(folder: Path, launched: list[Any]) -> None:
    tables = TABLES | {"eval": {"tasks": "~nobody-of-that-name/tasks.jsonl"}}
    async with form(folder, tables=tables) as (pilot, screen):
        await settled(pilot, screen)
        await press_start(pilot, screen)
        await until(pilot, lambda: "eval.tasks = ~nobody-of-that-name/tasks.jsonl: no path" in toasts(screen))
        assert not screen.state.starting
        assert "starting…" not in text(screen)
    assert launched == []


async def test_a_start_that_fails_by_a_fault_of_ours_is_one_line(folder: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr("mio_tui.new.starting.begin", lambda *_: {}["missing"])
    async with form(folder, tables=TABLES) as (pilot, screen):
        await settled(pilot, screen)
        await press_start(pilot, screen)
        await until(pilot, lambda: "not started: KeyError: 'missing'" in toasts(screen))
        assert not screen.state.starting


@pytest.mark.slow
async def test_nothing_opens_over_a_form_that_starts(folder: Path, shown: list[Run], monkeypatch: Any) -> None:
    go_on = threading.Event()
    queues: list[Any] = []
    monkeypatch.setattr("mio_tui.new.begin.launch", lambda queue, *_, **__: go_on.wait(20) and queues.append(queue))
    async with form(folder, tables=TABLES) as (pilot, screen):
        await settled(pilot, screen)
        await go(pilot, screen, 3)
        await pilot.press("s", "ctrl+o", "e", "w", "escape", "s")
        assert screen.app.screen is screen
        await pilot.press("f1")
        await until(pilot, lambda: screen.app.screen is not screen)
        go_on.set()
        await until(pilot, lambda: shown)
        assert screen not in screen.app.screen_stack
        assert len(screen.app.screen_stack) == 2  # the app's own, and the list of runs
    assert len(queues) == 1


@pytest.mark.slow
@pytest.mark.parametrize("change", fast(["another model", "an edit", "a recipe", "help", ""], ["an edit", ""]))
async def test_a_start_that_waits_for_a_download_is_for_what_was_there_then(
    folder: Path, tmp_path: Path, shown: list[Run], launched: list[Any], monkeypatch: Any, change: str
) -> None:
    gate = tmp_path / "gate"
    downloader(tmp_path, monkeypatch, {"done": 1, "total": 9, "file": "a"}, {"folder": "/x"}, pause=0, gate=gate)
    async with form(folder, tables={"data": TABLES["data"]}) as (pilot, screen):
        await choose_remote(pilot, screen)
        await pilot.press("d")
        await until(pilot, lambda: screen.state.data.summary)
        await press_start(pilot, screen)
        assert screen.state.start_after
        if change == "another model":
            screen.take_model("Qwen/Qwen3-0.6B")
        elif change == "an edit":
            screen.state.draft.set("loss.beta", "0.9")
            screen.on_step_changed(screen.settings.Changed("loss.beta"))
        elif change == "a recipe":
            screen.replaced()
        elif change == "help":
            await pilot.press("f1")
        gate.touch()
        await until(pilot, lambda: screen.state.download.state == "done")
        if change:
            await until(pilot, lambda: not screen.state.start_after)
            assert launched == []
            assert not screen.state.start_after
            said = "press the start key to start" if change == "help" else "does not start by itself any more"
            assert said in toasts(screen)
        else:
            await until(pilot, lambda: shown)


@pytest.mark.slow
async def test_pairs_of_another_source_are_not_those_of_the_draft(folder: Path, launched: list[Any]) -> None:
    async with form(folder, tables=TABLES) as (pilot, screen):
        await settled(pilot, screen)
        await go(pilot, screen, 1)
        await type_into(pilot, screen, "data.source", "org/other-data")  # and no enter
        [check] = of_data(screen.state)
        assert (check.sign, check.words) == ("…", "the pairs have not been read yet")
        assert {fields["data"]["source"] for do, fields in FakePreview.asked if do == "open"} == {"pairs.jsonl"}
        await pilot.press("ctrl+s")  # whoever goes on takes what the screen shows
        await until(pilot, lambda: FakePreview.asked[-1][0] != "open" and screen.data.current)
        opened = [fields["data"]["source"] for do, fields in FakePreview.asked if do == "open"]
        assert opened[-1] == "org/other-data"
        assert launched == []


@pytest.mark.slow
async def test_pairs_are_read_anew_after_an_edit_of_the_settings(folder: Path) -> None:
    async with form(folder, tables=TABLES) as (pilot, screen):
        await settled(pilot, screen)
        await go(pilot, screen, 2)
        await type_into(pilot, screen, "data.max_tokens", "512")
        await until(pilot, lambda: [f["data"]["max_tokens"] for do, f in FakePreview.asked if do == "open"][-1] == 512)
        await until(pilot, lambda: screen.state.data.summary)


@pytest.mark.slow
async def test_a_start_right_after_an_edit_waits_for_the_estimate(
    folder: Path, shown: list[Run], launched: list[Any], monkeypatch: Any
) -> None:
    monkeypatch.setattr(hub, "on_disk", lambda folders=(): [on_disk("Qwen/Qwen3-0.6B", 20)])
    async with form(folder, tables=TABLES) as (pilot, screen):
        await settled(pilot, screen)
        screen.state.draft.set("train.steps", "7")
        screen.on_step_changed(screen.settings.Changed("train.steps"))
        assert screen.state.needs is None
        screen.action_start()
        await pilot.pause()
        assert "starts once the pairs are read and the memory is estimated" in toasts(screen)
        await until(pilot, lambda: "needs ~60 GB of 27 GB free" in toasts(screen))  # a doubt, once it is known
        assert not screen.state.starting
        screen.action_start()
        await until(pilot, lambda: shown)


@pytest.mark.parametrize("edited", fast([False, True], [True]))
async def test_one_press_starts_once_all_is_known_unless_something_is_edited(
    folder: Path, shown: list[Run], launched: list[Any], monkeypatch: Any, edited: bool
) -> None:
    monkeypatch.setattr("mio_tui.new.form.ESTIMATE_PAUSE", 1.0)
    async with form(folder, tables=TABLES) as (pilot, screen):
        await settled(pilot, screen)
        await go(pilot, screen, 3)
        screen.on_step_changed(screen.settings.Changed("train.steps"))
        await pilot.press("s")
        assert screen.state.start_after
        if edited:
            screen.on_step_changed(screen.settings.Changed("train.steps"))
            await until(pilot, lambda: screen.state.needs)
            await pilot.pause(0.3)
            assert not screen.state.starting
            assert not shown
        else:
            await until(pilot, lambda: shown)


@pytest.mark.slow
async def test_the_names_that_both_runs_get_are_looked_at(folder: Path) -> None:
    for name in ("abc", "x-dpo"):
        (folder / name).mkdir(parents=True)
    async with form(folder, tables=TABLES) as (pilot, screen):
        await go(pilot, screen, 2)
        for typed, both, wrong in (
            ("abc", False, "abc: taken"), ("abc", True, ""), ("x", True, "x-dpo: taken"), ("x", False, ""),
        ):  # fmt: skip
            await type_into(pilot, screen, "run.name", typed)
            screen.state.draft.both = both
            screen.on_step_changed(screen.settings.Changed("loss.name"))
            assert screen.state.name_error.startswith(wrong)
            assert bool(screen.state.name_error) == bool(wrong)


@pytest.mark.slow
async def test_both_stay_through_the_text_and_saving_says_which_half(folder: Path) -> None:
    Path("my recipes").mkdir()
    async with form(folder, tables=TABLES) as (pilot, screen):
        await settled(pilot, screen)
        screen.state.draft.both = True
        await go(pilot, screen, 3)
        await pilot.press("e")
        await pilot.pause(0.1)
        await pilot.press("ctrl+s")
        await until(pilot, lambda: screen.app.screen is screen)
        assert screen.state.draft.both
        screen._save("my recipes/a")
        await pilot.pause()
        command = "to train it again: mio-local train 'my recipes/a.toml'"
        assert f"saved a.toml, the MIO half only; {command}" in toasts(screen)
        screen.state.draft.both = False
        screen._save("my recipes/a", sure=True)
        await pilot.pause()
        assert f"saved a.toml; {command}" in toasts(screen)
        await pilot.press("escape")
        await pilot.pause(0.1)
        assert not isinstance(screen.app.screen, Ask)


async def test_a_command_line_that_cannot_be_is_said(folder: Path) -> None:
    tables = {"model": TABLES["model"], "data": {"source": "pairs.jsonl", "columns": {"chosen": "a,b"}}}
    async with form(folder, tables=tables) as (pilot, screen):
        await go(pilot, screen, 3)
        await pilot.press("y")
        assert "not as flags: w saves a recipe" in toasts(screen)
