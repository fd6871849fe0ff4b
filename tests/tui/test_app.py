"""The app as a process: what it loads, how soon it draws, and that its end harms nobody."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from textual.widgets import Input
from textual.widgets._toast import Toast

from mio_local.chat.chat_client import ChatClient
from mio_local.chat.start import ChatStart
from mio_tui.app import MioApp
from mio_tui.key_bar import KeyBar
from mio_tui.screens.help import HelpScreen
from tests.helpers import fakes
from tests.helpers.tui.screens import screen_text, until
from tests.helpers.tui.terminal import app_paint, first_paint

HEAVY = ("torch", "mlx", "transformers", "datasets")
WALK = """
import asyncio, json, sys
from pathlib import Path
from mio_tui.app import MioApp

async def walk():
    app = MioApp(Path(sys.argv[1]))
    async with app.run_test(size=(140, 45)) as pilot:
        await pilot.pause(0.3)
        for keys in (["enter"], ["escape"], ["space", "down", "space", "c"], ["escape"], ["n"], ["f3"], ["f3"], ["f3"]):
            await pilot.press(*keys)
            await pilot.pause(0.3)
    print(json.dumps(sorted({name.partition(".")[0] for name in sys.modules})))

asyncio.run(walk())
"""


@pytest.mark.slow
def test_no_screen_loads_an_array_library(tmp_path: Path) -> None:
    fakes.make_run(tmp_path / "runs", "one")
    fakes.make_run(tmp_path / "runs", "two", loss="dpo")
    ended = subprocess.run(
        [sys.executable, "-c", WALK, str(tmp_path / "runs")], capture_output=True, text=True, timeout=120, check=True
    )
    loaded = json.loads(ended.stdout.splitlines()[-1])
    assert "textual" in loaded
    assert not set(HEAVY) & set(loaded)


FIRST = """
import asyncio, json, sys
from pathlib import Path
from mio_local import cli  # what the command imports
from mio_tui import app as module
from mio_tui.app import MioApp

module.REST = 60  # until it imports what other screens need

async def first():
    app = MioApp(Path(sys.argv[1]))
    async with app.run_test() as pilot:
        while "run" not in app.screen.query_one("#facts").render().plain:
            await pilot.pause(0.01)
        print(json.dumps(sorted(sys.modules)))

asyncio.run(first())
"""


def test_the_first_screen_loads_no_model_and_no_numpy(tmp_path: Path) -> None:
    """They took half of the time before anything was drawn."""
    fakes.make_run(tmp_path / "runs", "run")
    command = [sys.executable, "-c", FIRST, str(tmp_path / "runs")]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    loaded = set(json.loads(ended.stdout.splitlines()[-1]))
    late = {"numpy", "pydantic", "tomlkit", "matplotlib", "huggingface_hub", "mio_local.recipe", "mio_tui.screens.live"}
    assert "mio_tui.screens.run_list" in loaded
    assert not loaded & late


@pytest.mark.slow
def test_first_paint_is_soon(tmp_path: Path) -> None:
    """By its CPU against that of Textual's import, as a machine that tests in parallel has no use for a clock: 1.5
    times as much, and 1.9 with the recipe and numpy; by the clock, see tests/bench/app_latency.py."""
    textual = "import textual.app, textual.widgets, time; print('here', flush=True); time.sleep(60)"
    taken = min(app_paint(tmp_path / "runs")[1] for _ in range(3))
    assert taken < 2.5 * min(first_paint(b"here", "-c", textual)[1] for _ in range(3))


@pytest.mark.slow
def test_killing_the_app_harms_no_run(tmp_path: Path) -> None:
    run = fakes.make_run(tmp_path / "runs", "alone", "training", steps=100)
    before = {path.name: path.read_bytes() for path in run.path.iterdir() if path.is_file()}
    with fakes.alive(run):
        first_paint(b"TRAINING", "-m", "mio_local.cli", "--runs", str(tmp_path / "runs"))
        assert run.is_locked()
        assert {path.name: path.read_bytes() for path in run.path.iterdir() if path.is_file()} == before | {
            "run.lock": b""
        }


async def test_the_one_living_run_is_open_at_once(tmp_path: Path) -> None:
    run = fakes.make_run(tmp_path / "runs", "alone", "training", steps=100)
    with fakes.alive(run):
        app = MioApp(tmp_path / "runs")
        async with app.run_test() as pilot:
            await until(pilot, lambda: type(app.screen).__name__ == "LiveScreen")
            await pilot.press("escape")
            await until(pilot, lambda: type(app.screen).__name__ == "RunsScreen")


async def test_a_click_on_a_key_of_the_last_line_presses_it(folder):
    app = MioApp(folder)
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.pause()
        last = screen_text(app)[-1]
        await pilot.click(KeyBar, offset=(last.index("Help"), 0))
        await until(pilot, lambda: isinstance(app.screen, HelpScreen))
        await pilot.press("escape")
        await pilot.click(KeyBar, offset=(79, 0))  # nothing stands there
        await pilot.pause()
        assert screen_text(app)[-1] == last


async def test_the_last_line_names_the_key_that_helps_where_a_letter_is_typed(tmp_path: Path) -> None:
    fakes.make_run(tmp_path, "one")
    app = MioApp(tmp_path)
    async with app.run_test(size=(80, 24)) as pilot:
        await until(pilot, lambda: "? Help" in screen_text(app)[-1])
        await pilot.press("slash")
        await until(pilot, lambda: "f1 Help" in screen_text(app)[-1])
        await pilot.press("question_mark")
        assert app.screen.query_one("#filter", Input).value == "?"
        await pilot.press("f1")
        await until(pilot, lambda: isinstance(app.screen, HelpScreen))
        assert any(row.split("│")[1].split() == ["f1", "Help"] for row in screen_text(app) if "Help" in row)


@pytest.mark.parametrize("size", [(60, 16), (80, 24), (140, 45)])
async def test_no_notice_lies_over_a_line_that_one_types_into(tmp_path: Path, monkeypatch, size) -> None:
    async def opened(self, runs, start, progress):
        return {"voices": ["base", "one"], "model": "m", "system": ""}

    monkeypatch.setattr(ChatClient, "open", opened)
    fakes.make_run(tmp_path, "one")
    app = MioApp(tmp_path)
    async with app.run_test(size=size, notifications=True) as pilot:
        await until(pilot, lambda: "runs 1" in "\n".join(screen_text(app)))
        await pilot.press("slash")
        app.notify("first " * 20, title="one")
        app.complain("second")
        for name in ("#filter", "#ask"):
            await until(pilot, lambda: len([toast for toast in app.screen.query(Toast) if toast.region]) == 2)
            typed = app.screen.query_one(name, Input).region
            assert typed
            await until(pilot, lambda at=typed: not any(one.region.overlaps(at) for one in app.screen.query(Toast)))
            app.chat(ChatStart(["one"]))
            await until(pilot, lambda: app.screen.query("#ask"))
