"""The menu of what can be done with a run: by its keys, at any speed; from the list, a live screen, the palette."""

import json
import shutil

import pytest

from mio_local.chat.feedback import NAME as PAIRS
from mio_local.recipe import build, read_toml
from mio_local.runs import trash
from mio_local.runs.directory import Run
from mio_local.runs.remarks import read_remarks
from mio_tui.actions.actions_menu import ActionsMenu
from mio_tui.actions.recipe_like import on_pairs, with_objective
from mio_tui.actions.run_actions import ACTIONS, GROUPS, Meant
from mio_tui.dialogs import Ask, AskText
from mio_tui.new.screen import NewRunScreen
from mio_tui.screens.compare import CompareScreen
from mio_tui.screens.live import LiveScreen
from tests.helpers import fakes
from tests.helpers.tui.live_screen import opened
from tests.helpers.tui.runs_screen import go, listed, names
from tests.helpers.tui.screens import seen, until


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "runs"


def burst(pilot, *keys):
    """Press keys with no time between them, as a terminal hands on what is pasted or typed ahead."""
    for key in keys:
        pilot.app.simulate_key(key)


def test_each_action_has_its_key_and_its_group():
    assert len({action.key for action in ACTIONS}) == len(ACTIONS) == len({action.name for action in ACTIONS})
    assert {action.group for action in ACTIONS} == set(GROUPS)


async def test_keys_that_are_typed_ahead_reach_the_menu_and_its_question(folder):
    run = fakes.make_run(folder, "mine", steps=50)
    run.adapter.mkdir()
    async with listed(folder, rows=1) as (pilot, screen):
        burst(pilot, "full_stop", "i", "b", "e", "s", "t", "enter")
        await until(pilot, lambda: read_remarks(run).note == "best")
        await until(pilot, lambda: pilot.app.screen is screen)
        burst(pilot, "full_stop", "g", "o", "k", "enter")
        await until(pilot, lambda: read_remarks(run).tags == ("ok",))
        burst(pilot, "full_stop", "g", "backspace", "backspace", "enter")
        await until(pilot, lambda: read_remarks(run).tags == ())
        burst(pilot, "full_stop", "i", "escape")
        await until(pilot, lambda: pilot.app.screen is screen)
        assert read_remarks(run).note == "best"
        burst(pilot, "full_stop", "o", "escape")
        await until(pilot, lambda: pilot.app.screen is screen)
        burst(pilot, "d", "d")  # a question that reads the disk first
        await until(pilot, lambda: names(screen) == [])
        assert [one.name for one in trash.deleted(folder)] == ["mine"]


async def test_what_cannot_be_done_says_why(folder):
    fakes.make_run(folder, "mine", steps=50)
    async with listed(folder, rows=1, size=(80, 24)) as (pilot, screen):
        await pilot.press("full_stop")
        await until(pilot, lambda: isinstance(pilot.app.screen, ActionsMenu))
        assert "Resume — it is done" in seen(pilot)
        await pilot.press("o")
        await until(pilot, lambda: "Export: it has no adapter yet" in seen(pilot))
        assert isinstance(pilot.app.screen, ActionsMenu)
        await pilot.press("escape")
        await until(pilot, lambda: pilot.app.screen is screen)


async def test_a_menu_of_several_runs_compares_and_deletes(folder):
    for name in ("one", "two"):
        fakes.make_run(folder, name, steps=50)
    async with listed(folder, rows=2) as (pilot, _):
        await pilot.press("space", "j", "space", "full_stop")
        await until(pilot, lambda: "2 runs" in seen(pilot))
        assert "Rename… — of one run at a time" in seen(pilot)
        await pilot.press("c")
        await until(pilot, lambda: isinstance(pilot.app.screen, CompareScreen))
        await pilot.press("escape", "full_stop", "d")
        await until(pilot, lambda: "Delete 2 runs?" in seen(pilot))


async def test_rename_takes_the_run_with_it(folder):
    fakes.make_run(folder, "mine", steps=50)
    async with listed(folder, rows=1) as (pilot, screen):
        await pilot.press("full_stop", "n")
        await until(pilot, lambda: isinstance(pilot.app.screen, AskText))
        await pilot.press(*"-2", "enter")
        await until(pilot, lambda: names(screen) == ["mine-2"])
        await pilot.press("full_stop", "n", *"/x", "enter")
        await until(pilot, lambda: "no name of a run" in seen(pilot))


@pytest.mark.slow
async def test_a_run_is_trained_again_as_dpo_from_the_review(folder):
    run = fakes.make_run(folder, "mine", steps=50)
    async with opened(run) as (pilot, _):
        burst(pilot, "full_stop", "a")
        await until(pilot, lambda: isinstance(pilot.app.screen, NewRunScreen) and len(pilot.app.screen.steps) == 4)
        form = pilot.app.screen
        await until(pilot, lambda: form.step is form.review)
        draft = form.state.draft
        before = build(read_toml(run.recipe), "test")
        assert (draft.value("loss.name"), draft.value("loss.beta")) == ("dpo", before.loss.beta / 2)
        assert draft.text("model.name") == before.model.name


def test_the_other_objective_begins_with_the_same_gradient():
    """At zero the slope of each log-prob is beta/4 in MIO and beta/2 in DPO (MIO.md)."""
    mio = {"loss": {"name": "mio", "beta": 0.2, "reduction": "sum"}, "train": {"steps": 3}}
    dpo = with_objective(mio, "dpo")
    assert dpo == {"loss": {"name": "dpo", "beta": 0.1}, "train": {"steps": 3}}
    assert with_objective(dpo, "mio")["loss"] == {"name": "mio", "beta": 0.2}
    assert with_objective({"loss": {"name": "ipo", "beta": 3.0}}, "mio")["loss"] == {"name": "mio"}
    smoothed = {"loss": {"name": "dpo", "label_smoothing": 0.1}}
    assert with_objective(smoothed, "mio")["loss"] == {"name": "mio"}  # which has no form for it
    assert with_objective(smoothed, "robust")["loss"] == {"name": "robust", "label_smoothing": 0.1}
    assert mio["loss"]["name"] == "mio"


def test_a_run_on_chat_pairs_begins_with_the_adapter_that_was_talked_to(folder):
    run = fakes.make_run(folder, "mine", steps=50)
    read = {"columns": {"chosen": "a"}, "eval_source": "held.jsonl", "max_tokens": 64}
    tables = {"data": {"source": "old.jsonl", **read}}
    assert "init_adapter" not in on_pairs(tables, run, run.path / PAIRS).get("lora", {})
    run.adapter.mkdir()
    made = on_pairs(tables, run, run.path / PAIRS)
    assert made["data"] == {"source": str(run.path / PAIRS), "max_tokens": 64}
    assert made["lora"] == {"init_adapter": str(run.adapter)}


async def test_chat_pairs_are_offered_where_there_are_some(folder):
    run = fakes.make_run(folder, "mine", steps=50)
    [pairs] = [action for action in ACTIONS if action.name == "pairs"]
    assert "none was kept" in pairs.why_not(Meant.by([run]))
    answers = {"chosen": "better", "rejected": "worse"}
    (run.path / PAIRS).write_text(json.dumps({"prompt": "q", **answers}) + "\n")
    async with listed(folder, rows=1) as (pilot, _):
        await pilot.press("full_stop", "p")
        await until(pilot, lambda: isinstance(pilot.app.screen, NewRunScreen) and len(pilot.app.screen.steps) == 4)
        form = pilot.app.screen
        await until(pilot, lambda: form.step is form.data)
        assert form.state.draft.text("data.source") == str(run.path / PAIRS)


async def test_the_palette_finds_what_can_be_done(folder):
    run = fakes.make_run(folder, "mine", steps=50)
    with fakes.alive(fakes.make_run(folder, "working", state="training", steps=50)) as working:
        async with listed(folder, rows=2) as (pilot, screen):
            await go(pilot, screen, "working")
            found = {command.title for command in pilot.app.get_system_commands(screen)}
            assert {"Stop", "Report", "Compare"} & found == {"Stop", "Compare"}
            await pilot.press("ctrl+p")
            await pilot.press(*"stop")
            await until(pilot, lambda: "working: . x" in seen(pilot))
            await pilot.press("down", "enter")
            await until(pilot, lambda: isinstance(pilot.app.screen, Ask) and "Stop working?" in seen(pilot))
            await pilot.press("s")
            await until(pilot, lambda: fakes.requests(working) == ["stop"])
    assert run.exists()


async def test_a_run_that_is_deleted_from_its_live_screen_closes_it(folder):
    run = fakes.make_run(folder, "mine", steps=50)
    async with opened(run) as (pilot, _):
        await pilot.press("full_stop", "d")
        await until(pilot, lambda: "Delete mine?" in seen(pilot))
        await pilot.press("d")
        await until(pilot, lambda: not run.exists())
        await until(pilot, lambda: not isinstance(pilot.app.screen, LiveScreen))
        assert [one.name for one in trash.deleted(folder)] == ["mine"]


async def test_a_run_that_is_gone_is_told(folder):
    run = fakes.make_run(folder, "mine", steps=50)
    async with opened(run) as (pilot, _):
        shutil.rmtree(run.path)
        await pilot.press("full_stop", "i", *"x", "enter")
        await until(pilot, lambda: isinstance(pilot.app.screen, LiveScreen))
        await until(pilot, lambda: "mine" in seen(pilot))
    assert Run(run.path).path == run.path
