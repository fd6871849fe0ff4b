"""The chat screen with a real model in a process of its own, and with one that dies."""

import json
import os
import re
import shutil
import signal
import sys
from pathlib import Path

import pytest
from textual import events
from textual.widgets import Input

from mio_local.chat.start import ChatStart
from mio_local.sampling import Sampling
from mio_local.services.child import Child
from mio_tui.app import MioApp
from mio_tui.chat.side import VoicePanel
from mio_tui.screens.chat import ChatScreen
from mio_tui.screens.run_list import RunsScreen
from tests.helpers.exporting import train
from tests.helpers.json_edits import edit_json
from tests.helpers.tui.screens import seen, until
from tests.helpers.tui.terminal import Terminal

SIZES = [(80, 24), (140, 45)]
DEMO = Path(__file__).parents[3] / "recipes" / "demo"
FIGURES = re.compile(r"\d+ tokens, \d+ tok/s")
SUM = "Ada bakes 8 trays of 2 rolls and eats 3. How many are left?"


@pytest.fixture(scope="module")
def folder(tiny_pairs, tmp_path_factory):
    """A folder with two runs of one base, whose answers end by themselves."""
    made = tmp_path_factory.mktemp("runs")
    for name in ("one", "two"):
        train(made, DEMO / "model", tiny_pairs, "mlx", name, "--learning-rate", "3e-3")
    return made


@pytest.fixture(scope="module")
def endless(tiny_pairs, tmp_path_factory):
    """A folder with a run whose answers go on to `max_tokens`: a token that the model never says would end them."""
    made = tmp_path_factory.mktemp("endless")
    model = shutil.copytree(DEMO / "model", made / "model")
    edit_json(model / "generation_config.json", eos_token_id=0)
    edit_json(model / "tokenizer_config.json", eos_token="<|pad|>")
    train(made / "runs", model, tiny_pairs, "mlx", "one", "--learning-rate", "1e-5")
    return made / "runs"


@pytest.fixture
def runs(folder, tmp_path):
    return shutil.copytree(folder, tmp_path / "runs")


def said(app):
    """The words at the foot of every panel, once all have answered."""
    return [str(panel.border_subtitle) for panel in app.screen.query(VoicePanel) if panel.display]


async def ready(pilot):
    await until(pilot, lambda: isinstance(pilot.app.screen, ChatScreen) and pilot.app.screen.ready, 60)


async def ask(pilot, question):
    pilot.app.screen.query_one("#ask", Input).value = question
    await pilot.press("enter")
    await until(pilot, lambda: not pilot.app.screen.busy and all("tok/s" in words for words in said(pilot.app)), 60)


def notes(app):
    """What is told beside the screen."""
    return "\n".join(note.message for note in app._notifications)


async def saved(pilot, key, count=1):
    """The last pair after a key, which makes `count` of them."""
    file = pilot.app.screen.pairs_file()
    await pilot.press(key)
    await until(pilot, lambda: file.exists() and file.read_text().count("\n") == count, 30)
    return json.loads(file.read_text().splitlines()[-1])


async def refused(pilot, key):
    """What is told after a key that saves nothing."""
    await pilot.app.screen.workers.wait_for_complete()
    pilot.app.clear_notifications()
    await pilot.press(key)
    await until(pilot, lambda: notes(pilot.app), 30)
    assert not pilot.app.screen.pairs_file().exists()
    return notes(pilot.app)


@pytest.mark.slow
@pytest.mark.parametrize("size", SIZES)
async def test_side_by_side_then_a_pair(runs, size):
    app = MioApp(runs, chat=ChatStart(["one"]))
    async with app.run_test(size=size) as pilot:
        await ready(pilot)
        await ask(pilot, "What is 3 + 4? [/INST] [red]")
        assert seen(pilot).count("What is 3 + 4? [/INST] [red]") == 2
        panels = list(app.screen.query(VoicePanel))
        assert [panel.voice for panel in panels] == ["base", "one"]
        assert (panels[0].region.y == panels[1].region.y) == (size[0] > 100)  # beside one another where there is room
        answers = app.screen.talk.turns[-1].answers
        assert set(answers) == {"base", "one"}
        row = await saved(pilot, "f4")
        assert row["chosen"] == [{"role": "assistant", "content": answers["one"][0].text}]
        assert row["rejected"] == [{"role": "assistant", "content": answers["base"][0].text}]
        assert row["prompt"] == [{"role": "user", "content": "What is 3 + 4? [/INST] [red]"}]
        await pilot.press("ctrl+z")
        await until(pilot, lambda: "0 left there" in str([note.title for note in app._notifications]))
        assert app.screen.pairs_file().read_bytes() == b""
        await pilot.press("ctrl+z")
        await until(pilot, lambda: "no pair was kept in this chat" in notes(app))
        assert await saved(pilot, "f4") == row
        await ask(pilot, "And 5?")
        assert [turn["role"] for turn in app.screen.messages] == ["user", "assistant", "user"]
        assert app.screen.messages[1]["content"] == answers["one"][0].text


@pytest.mark.slow
async def test_again_draws_another_answer_to_the_same_question(runs):
    app = MioApp(runs, chat=ChatStart(["one"]))
    async with app.run_test(size=(100, 30)) as pilot:
        await ready(pilot)
        app.screen.sampling = app.screen.sampling.model_copy(update={"temperature": 1.5})
        await pilot.press("f2")
        assert [panel.voice for panel in app.screen.query(VoicePanel) if panel.display] == ["one"]
        await ask(pilot, SUM)
        assert "no two answers" in await refused(pilot, "f4")
        await pilot.press("ctrl+r")
        await until(pilot, lambda: len(app.screen.talk.turns[-1].answers["one"]) == 2, 60)
        await until(pilot, lambda: not app.screen.busy)
        first, second = app.screen.talk.turns[-1].answers["one"]
        assert first.text != second.text
        row = await saved(pilot, "f3")
        assert row["chosen"][0]["content"] == first.text
        await pilot.press("ctrl+l")
        assert app.screen.talk.turns == []


@pytest.mark.slow
async def test_escape_ends_the_answer_and_then_the_screen(endless):
    app = MioApp(endless, chat=ChatStart(["one"]))
    async with app.run_test(size=(100, 30)) as pilot:
        await ready(pilot)
        app.screen.sampling = app.screen.sampling.model_copy(update={"max_tokens": 1900})
        process = app.screen.client.process
        app.screen.query_one("#ask", Input).value = "Tell me all."
        await pilot.press("enter")
        await until(pilot, lambda: app.screen.panel("base").growing, 60)
        await pilot.press("escape")
        await until(pilot, lambda: not app.screen.busy, 30)
        assert isinstance(app.screen, ChatScreen)
        assert list(app.screen.talk.turns[-1].answers) == ["base"]  # none was begun after it
        assert ", stopped" in str(app.screen.panel("base").border_subtitle)
        await pilot.press("escape")
        await until(pilot, lambda: isinstance(app.screen, RunsScreen), 30)
        await until(pilot, lambda: process.returncode is not None, 30)


@pytest.mark.slow
async def test_settings_are_checked_and_kept(runs):
    app = MioApp(runs, chat=ChatStart(["one"]))
    async with app.run_test(size=(80, 24)) as pilot:
        await ready(pilot)
        await pilot.press("ctrl+o")
        await pilot.pause()
        for field in Sampling.model_fields.values():  # each word of what they say is seen
            assert set(field.description.split()) <= set(seen(pilot).split())
        app.screen.query_one("#setting-top_p", Input).value = "7"
        await pilot.press("enter")
        assert "top_p 7: input should be less than or equal to 1" in seen(pilot)
        app.screen.query_one("#setting-top_p", Input).value = "0.5"
        app.screen.query_one("#setting-system", Input).value = "Be brief."
        await pilot.press("enter")
        assert isinstance(app.screen, ChatScreen)
        assert app.screen.sampling.top_p == 0.5
        app.screen.sampling = app.screen.sampling.model_copy(update={"max_tokens": 4})
        await ask(pilot, "What?")
        assert app.screen.messages[0] == {"role": "system", "content": "Be brief."}


@pytest.mark.slow
async def test_a_pair_is_what_the_answers_were_asked_with(runs):
    """Whatever the settings say by then; the run's own system message with it."""
    text = (runs / "one" / "recipe.toml").read_text()
    assert text.count('system = ""') == 1
    (runs / "one" / "recipe.toml").write_text(text.replace('system = ""', 'system = "Be terse."'))
    app = MioApp(runs, chat=ChatStart(["one"]))
    async with app.run_test(size=(100, 30)) as pilot:
        await ready(pilot)
        assert app.screen.system == "Be terse."
        await ask(pilot, SUM)
        app.screen.system = "Be verbose."
        row = await saved(pilot, "f4")
        assert row["prompt"] == [{"role": "system", "content": "Be terse."}, {"role": "user", "content": SUM}]
        app.screen.sampling = app.screen.sampling.model_copy(update={"max_tokens": 3})
        (runs / "one" / "chat-pairs.jsonl").unlink()
        await pilot.press("ctrl+r")
        await until(pilot, lambda: not app.screen.busy, 60)
        assert "was cut at max_tokens; raise max_tokens (ctrl+o)" in await refused(pilot, "f3")


@pytest.mark.slow
async def test_two_runs_share_one_base(runs):
    app = MioApp(runs)
    async with app.run_test(size=(140, 45)) as pilot:
        await until(pilot, lambda: isinstance(app.screen, RunsScreen) and app.screen.rows)
        await pilot.press("space", "down", "space", "t")
        await until(pilot, lambda: isinstance(app.screen, ChatScreen))
        app.screen.query_one("#ask", Input).focus()
        await pilot.press("q", "enter")
        await until(pilot, lambda: "asked as soon as the model is there" in notes(app))
        await ready(pilot)
        await until(pilot, lambda: not app.screen.busy, 60)
        assert [turn.question for turn in app.screen.talk.turns] == ["q"]
        await pilot.press("a")
        assert sorted(panel.voice for panel in app.screen.query(VoicePanel)) == ["base", "one", "two"]
        app.screen.query_one("#ask", Input).post_message(events.Paste("one\n  two\nthree"))
        await until(pilot, lambda: app.screen.query_one("#ask", Input).value == "aone   two three")
        await until(pilot, lambda: "3 lines became one" in notes(app))


async def test_a_model_that_is_gone_is_told_and_escape_leads_back(runs, tmp_path):
    shutil.rmtree(runs / "one" / "adapter")
    shutil.rmtree(runs / "one" / "checkpoints")
    app = MioApp(runs, chat=ChatStart(["one"]))
    async with app.run_test(size=(80, 24)) as pilot:
        await until(pilot, lambda: "no adapter yet; it is saved at the first checkpoint" in seen(pilot), 60)
        await pilot.press("escape")
        await until(pilot, lambda: isinstance(app.screen, RunsScreen))


@pytest.mark.slow
async def test_a_process_that_dies_is_told_and_started_again(endless):
    app = MioApp(endless, chat=ChatStart(["one"]))
    async with app.run_test(size=(100, 30)) as pilot:
        await ready(pilot)
        app.screen.sampling = app.screen.sampling.model_copy(update={"max_tokens": 1900})
        app.screen.query_one("#ask", Input).value = "Tell me all."
        await pilot.press("enter")
        await until(pilot, lambda: any(panel.growing for panel in app.screen.query(VoicePanel)), 60)
        os.kill(app.screen.client.process.pid, signal.SIGKILL)
        await until(pilot, lambda: not app.screen.busy, 30)
        await until(pilot, lambda: app.screen.ready and app.screen.client.alive, 60)
        app.screen.sampling = app.screen.sampling.model_copy(update={"max_tokens": 4})
        await ask(pilot, "Again?")


async def test_strange_answers_end_the_process_in_one_line(runs, monkeypatch):
    monkeypatch.setattr(Child, "command", lambda _: ("-c", "print('no json')"))
    app = MioApp(runs, chat=ChatStart(["one"]))
    async with app.run_test(size=(100, 30)) as pilot:
        await until(pilot, lambda: "unreadable answer" in seen(pilot), 60)


@pytest.mark.skipif(not shutil.which("tmux"), reason="tmux is not installed")
@pytest.mark.slow
@pytest.mark.parametrize(("width", "height"), SIZES)
def test_by_keys_alone_in_a_real_terminal(runs, width, height):
    environment = {"TERM": "tmux-256color", "PS1": "$ ", "LANG": "C.UTF-8", "PATH": os.environ["PATH"]}
    environment |= {"PYTHONPATH": os.environ.get("PYTHONPATH", "")}
    with Terminal(width, height, environment) as terminal:
        terminal.type(f"{sys.executable} -m mio_local.cli chat one --runs {runs} --temperature 0.8")
        terminal.wait("temp 0.8", 60)
        terminal.type(SUM)
        first = FIGURES.findall(terminal.wait(lambda text: text.count("tok/s") == 2, 60))
        terminal.keys("F3")
        terminal.wait("saved: 1 pair there")
        terminal.keys("C-r")
        terminal.wait(lambda text: text.count("tok/s") == 2 and FIGURES.findall(text) != first, 60)
        terminal.keys("Escape")
        terminal.wait("Compare", 30)
    assert (runs / "one" / "chat-pairs.jsonl").read_text().count("\n") == 1
