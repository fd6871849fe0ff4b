"""The form that makes pairs, and the making: by keys, told as it goes, stopped, gone on with."""

import os

import pytest

from mio_local.flags import recipe_from
from mio_tui.make.judge_list import WORDS, judge_error
from mio_tui.make.make_draft import MakeDraft
from mio_tui.make.making_screen import MakingScreen
from mio_tui.new.screen import NewRunScreen
from mio_tui.screens.make_pairs import MakePairsScreen
from mio_tui.screens.review_pairs import ReviewPairsScreen
from tests.helpers import fakes
from tests.helpers.tui.make_pages import fill, folder, form, maker, making, pair
from tests.helpers.tui.new_run_form import form as new_run
from tests.helpers.tui.new_run_form import stage
from tests.helpers.tui.runs_screen import listed
from tests.helpers.tui.screens import seen, until

__all__ = ["folder"]


def flags(words):
    """What the real command line makes of the words behind `data make`."""
    from mio_local.arguments import parser

    return parser("data").parse_args(["data", "make", *words])


async def test_from_the_list_by_a_key_through_the_fields_to_the_command(folder, monkeypatch, tmp_path):
    told = maker(monkeypatch, tmp_path, [pair(1)])
    folder.mkdir()
    async with listed(folder) as (pilot, _):
        await pilot.press("m")
        await until(pilot, lambda: isinstance(pilot.app.screen, MakePairsScreen))
        await pilot.press(*"a/b", "enter", "enter", *"prompts.jsonl", "enter", "enter", "4", "enter", *"0.7,1.2")
        await pilot.press("enter", "enter", "1", "0")
        assert "--answers 4 --temperature 0.7,1.2" in seen(pilot).replace("\n", " ").replace("  ", " ")
        await pilot.press(*["enter"] * 4)
        await making(pilot)
    [words] = told
    assert words[:2] == ["data", "make"]
    arguments = flags(words[2:])
    make = recipe_from(arguments).make
    assert (make.prompts, make.answers, make.temperature) == ("prompts.jsonl", 4, [0.7, 1.2])
    assert (make.limit, make.judge, arguments.out) == (10, "last-number", "pairs.jsonl")


async def test_a_making_is_told_and_its_pairs_lead_on(folder, monkeypatch, tmp_path):
    gate = tmp_path / "gate"
    maker(monkeypatch, tmp_path, [pair(number) for number in range(8)], gate=gate)
    async with form(folder, tables={"train": {"epochs": 3.0}}) as (pilot, screen):
        await fill(pilot, screen)
        await pilot.press("ctrl+s")
        await until(pilot, lambda: "337 tokens/s" in seen(pilot))
        assert "20/56" in seen(pilot)
        await pilot.press("r", "enter", "e")  # nothing is there yet
        assert isinstance(pilot.app.screen, MakingScreen)
        gate.touch()
        await making(pilot)
        assert "✓ 8 pairs of 14 prompts" in seen(pilot)
        assert "pass@1 39.3%, pass@4 71.4%" in seen(pilot)
        await pilot.press("e")
        await until(pilot, lambda: "**an [red]example**" in seen(pilot))
        await pilot.press("e")
        await until(pilot, lambda: "pass@1 39.3%" in seen(pilot))
        await pilot.press("r")
        await until(pilot, lambda: isinstance(pilot.app.screen, ReviewPairsScreen) and "1 of 8" in seen(pilot))
        await pilot.press("escape", "enter")
        await until(pilot, lambda: isinstance(pilot.app.screen, NewRunScreen) and len(pilot.app.screen.steps) == 4)
        draft = pilot.app.screen.state.draft
        assert draft.text("data.source") == os.path.abspath("pairs.jsonl")
        assert (draft.text("model.name"), draft.value("train.epochs")) == ("Qwen/Qwen3-0.6B", 3.0)


@pytest.mark.parametrize("key", ["x", "ctrl+c"])
async def test_a_making_is_stopped_keeps_what_is_there_and_goes_on(folder, monkeypatch, tmp_path, key):
    gate = tmp_path / "gate"
    told = maker(monkeypatch, tmp_path, [pair(number) for number in range(8)], gate=gate)
    async with form(folder) as (pilot, screen):
        await fill(pilot, screen)
        await pilot.press("ctrl+s")
        await until(pilot, lambda: "20/56" in seen(pilot))
        await pilot.press(key)
        stopped = await making(pilot)
        assert stopped.making.last == "stopped"
        assert "3 pairs written; the same command goes on" in seen(pilot)
        gate.touch()
        await pilot.press("g")
        await until(pilot, lambda: "✓ 8 pairs" in seen(pilot))
    assert len(told) == 2
    assert told[0] == told[1]


async def test_a_making_goes_on_when_one_leaves_and_the_key_leads_back(folder, monkeypatch, tmp_path):
    gate = tmp_path / "gate"
    maker(monkeypatch, tmp_path, [pair(1)], gate=gate)
    folder.mkdir()
    async with listed(folder) as (pilot, runs):
        await pilot.press("m")
        await until(pilot, lambda: isinstance(pilot.app.screen, MakePairsScreen))
        await fill(pilot, pilot.app.screen)
        await pilot.press("ctrl+s")
        await until(pilot, lambda: "20/56" in seen(pilot))
        await pilot.press("escape", "escape")
        await until(pilot, lambda: pilot.app.screen is runs)
        await pilot.press("m")
        await until(pilot, lambda: isinstance(pilot.app.screen, MakingScreen) and "20/56" in seen(pilot))
        await pilot.press("escape", "q")
        await until(pilot, lambda: "leaving ends it" in seen(pilot))
        await pilot.press("escape")
        gate.touch()
        await until(pilot, lambda: "8 pairs of 14 prompts" in seen(pilot))  # in a notice


async def test_a_mistake_of_the_command_is_told(folder, monkeypatch, tmp_path):
    printed = ["14 prompts, 14 with a known answer", "mio-local: pairs.jsonl: no prompt makes a pair; draw more"]
    maker(monkeypatch, tmp_path, printed=printed, code=2)
    async with form(folder) as (pilot, screen):
        await fill(pilot, screen)
        await pilot.press("ctrl+s")
        await making(pilot)
        assert "✗ pairs.jsonl: no prompt makes a pair" in seen(pilot)
        assert pilot.app.screen.check_action("train", ()) is False


async def test_what_is_missing_or_wrong_is_said_and_led_to(folder, monkeypatch, tmp_path):
    told = maker(monkeypatch, tmp_path)
    async with form(folder) as (pilot, screen):
        await pilot.press("ctrl+s")
        await until(pilot, lambda: "name a model, or a run" in seen(pilot))
        await fill(pilot, screen)
        await pilot.press(*"numbr")
        await until(pilot, lambda: "no such judge" in seen(pilot))
        await pilot.press("enter", "0")
        await until(pilot, lambda: "✗ answers" in seen(pilot))
        await pilot.press("ctrl+s")
        await until(pilot, lambda: screen.at == "make.judge")
        assert told == []


async def test_what_is_offered_is_taken_by_enter(folder):
    run = fakes.make_run(folder, "mine", steps=50)
    run.adapter.mkdir()
    async with form(folder) as (pilot, screen):
        await pilot.press("enter", "pagedown", "enter")
        await until(pilot, lambda: screen.draft.text("make.run") == "mine" and screen.at == "make.prompts")
        await pilot.press("pagedown", "enter")
        await until(pilot, lambda: screen.draft.text("make.prompts") == "prompts.jsonl")
        await pilot.press(*"reg", "pagedown", "enter", *"x.*")
        await until(pilot, lambda: screen.draft.text("make.judge") == "regex:x.*")
        words = screen.draft.words()
        assert words[words.index("--from") + 1] == "mine"
        assert screen.draft.to_train()["lora"]["init_adapter"] == str(run.adapter)


async def test_enter_right_behind_page_down_is_the_lists(folder):
    async with form(folder) as (pilot, screen):
        await pilot.press("enter", "enter")
        for key in ("pagedown", "enter"):
            pilot.app.simulate_key(key)
        await until(pilot, lambda: screen.at == "make.judge")
        assert screen.draft.text("make.prompts") == "prompts.jsonl"


async def test_the_data_step_of_a_new_run_leads_to_it_with_the_model(folder, monkeypatch, tmp_path):
    (tmp_path / "stage").mkdir()
    with stage(monkeypatch, tmp_path / "stage") as runs:
        async with new_run(runs, tables={"model": {"name": "Qwen/Qwen3-0.6B"}}) as (pilot, screen):
            screen.go(1)
            await until(pilot, lambda: "f5: make pairs" in seen(pilot))
            await pilot.press("f5")
            await until(pilot, lambda: isinstance(pilot.app.screen, MakePairsScreen))
            assert pilot.app.screen.draft.text("model.name") == "Qwen/Qwen3-0.6B"
            await pilot.press("escape")
            await until(pilot, lambda: pilot.app.screen is screen)


async def test_the_palette_finds_it(folder):
    folder.mkdir()
    async with listed(folder) as (pilot, screen):
        assert "Make pairs" in {command.title for command in pilot.app.get_system_commands(screen)}


async def test_leaving_asks_once_something_was_entered(folder):
    async with form(folder) as (pilot, screen):
        await pilot.press("x", "escape")
        await until(pilot, lambda: "what was entered is lost" in seen(pilot))
        await pilot.press("l")
        await until(pilot, lambda: screen not in pilot.app.screen_stack)


def test_the_judges_are_those_of_the_command_line():
    from mio_local.making.judging.choose import KINDS

    assert {kind.partition(":")[0] for kind in KINDS} <= {name.partition(":")[0] for name in WORDS}


@pytest.mark.parametrize(("typed", "why"), [
    ("exact", ""), ("regex:x", ""), ("regex:", "say which"), ("regex", "say which"), ("gold:any", ""),
    ("exct", "exact"), ("json:none.json", "no such file"), ("gold:", "behind the colon"),
    ("server:http://localhost:1234", ""),
])  # fmt: skip
def test_a_judge_is_checked_as_it_is_typed(typed, why):
    assert why in judge_error(typed)
    assert bool(why) == bool(judge_error(typed))


def test_a_file_that_was_not_made_here_is_not_written_over(folder):
    draft = MakeDraft(folder)
    assert draft.text("make.out") == "pairs.jsonl"
    open("pairs.jsonl", "w").close()
    assert "not made here" in draft.error("make.out")
    assert MakeDraft(folder).text("make.out") == "pairs-2.jsonl"
    open("pairs.jsonl.work", "w").close()
    assert draft.error("make.out") == ""
    draft.set("make.out", "~nobody-here/x.jsonl")
    assert "no such user" in draft.error("make.out")
    draft.set("make.out", "none/x.csv")
    assert "JSONL" in draft.error("make.out")


async def test_keys_that_are_typed_ahead_reach_their_fields(folder):
    async with form(folder) as (pilot, screen):
        for key in (*"some/model", "enter", "enter", *"prompts.jsonl", "enter", "enter", "3"):
            pilot.app.simulate_key(key)
        await until(pilot, lambda: screen.draft.text("make.answers") == "3")
        assert screen.draft.text("model.name") == "some/model"
        assert screen.draft.text("make.prompts") == "prompts.jsonl"
