"""The end of a run is told once, on whatever screen one is, with the terminal's bell."""

import contextlib
import re

import pytest

from mio_tui import endings
from mio_tui.app import MioApp
from mio_tui.endings import Endings, told
from mio_tui.screens.live import LiveScreen
from tests.helpers import fakes
from tests.helpers.tui.pseudo_terminal import PtyApp
from tests.helpers.tui.screens import until


@pytest.fixture
def training(tmp_path):
    """A run that trains, and a function that ends it."""
    run = fakes.make_run(tmp_path, "one", state="training", steps=412)
    with contextlib.ExitStack() as held:
        held.enter_context(fakes.alive(run))

        def end(**status):
            fakes.set_status(run, **{"state": "done", "reason": "all steps done", **status})
            held.close()

        yield run, end


@pytest.fixture
def rung(monkeypatch):
    """Looks that follow one another fast, and a list that grows with each ring of the bell."""
    monkeypatch.setattr("mio_tui.app.LOOK", 0.05)
    found = []
    monkeypatch.setattr(MioApp, "bell", lambda self: found.append("ring"))
    return found


def notes(app):
    return [(note.title, note.severity) for note in app._notifications]


@pytest.mark.parametrize("keys", [(), ("escape",), ("f1",), ("escape", "n")], ids=["live", "list", "help", "form"])
async def test_an_end_is_told_once_on_every_screen(training, rung, keys):
    run, end = training
    app = MioApp(run.path.parent)
    async with app.run_test(size=(100, 30)) as pilot:
        await until(pilot, lambda: isinstance(app.screen, LiveScreen) and app.screen.was_read)
        await pilot.press(*keys)
        assert notes(app) == []
        end()
        await until(pilot, lambda: notes(app))
        await pilot.pause(0.3)  # six more looks
        assert notes(app) == [("✓ one done", "information")]
        assert rung == ["ring"]
        assert not app.endings  # nothing is looked at any more


async def test_the_bell_can_be_turned_off_and_a_run_that_waited_is_followed_next(training, rung, monkeypatch):
    monkeypatch.setenv("MIO_LOCAL_BELL", "0")
    run, end = training
    app = MioApp(run.path.parent)
    async with app.run_test(size=(100, 30)) as pilot:
        await until(pilot, lambda: isinstance(app.screen, LiveScreen) and app.screen.was_read)
        second = fakes.make_run(run.path.parent, "two", state="queued", steps=0, stream=[])
        end(state="failed", reason="out of memory")
        await until(pilot, lambda: notes(app) == [("✗ one failed", "error")])
        await until(pilot, lambda: app.endings)
        fakes.set_status(second, state="done")
        await until(pilot, lambda: ("✓ two done", "information") in notes(app))
        assert rung == []


def test_a_run_that_goes_on_ends_again_and_one_that_was_deleted_does_not(tmp_path):
    run = fakes.make_run(tmp_path, "one")
    found = Endings()
    for _ in range(2):  # once, and after it was resumed
        found.follow([run, run])
        assert [ended.name for ended, _ in found.ended()] == ["one"]
        assert found.ended() == []
    found.follow([run])
    run.path.rename(tmp_path / ".gone")
    assert found.ended() == []
    assert not found


def test_what_is_told_is_text_whatever_the_files_hold(tmp_path):
    run = fakes.make_run(tmp_path, "[red]x", state="stopped", reason="\x1b[31m[/]")
    title, words, severity = told(run, run.read_status())
    assert title == "■ [red]x stopped"
    assert words.startswith("\x1b[31m[/]\nΔchosen +2.09 Δrejected -9.00 nats")  # what `notify` makes visible
    assert severity == "information"
    assert told(run, {"state": ["x"], "held_out": 7})[1] == "at step ?"
    run.status.write_text("{")
    found = Endings()
    found.follow([run])
    assert [endings.told(*each)[2] for each in found.ended()] == ["error"]


@pytest.mark.slow
def test_a_real_terminal_rings(training):
    run, end = training
    written = []
    with PtyApp(100, 30, "-m", "mio_local.cli", "--runs", str(run.path.parent)) as app:
        feed = app.grid.feed
        app.grid.feed = lambda text: written.append(text) or feed(text)
        app.wait_for("● TRAINING")
        end()
        app.wait_for("✓ one done")
        app.settle(0.5)
    assert re.sub("\x1b\\].*?\a", "", "".join(written)).count("\a") == 1  # the others end a sequence of OSC
