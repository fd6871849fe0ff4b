"""The verdict on a run, in a line of the live screen's header."""

import threading

import pytest

from mio_local.reports import verdict as judging
from mio_local.runs.summary import Verdict
from mio_tui.live import header
from tests.helpers import fakes
from tests.helpers.tui import live_screen
from tests.helpers.tui.live_screen import opened
from tests.helpers.tui.screens import seen, until

training = live_screen.training
BAD = Verdict("forgetting", "chosen -4.7 (below 0 since step 40), rejected -8.6 nats", "try --learning-rate 3e-4")


def test_a_narrow_line_cuts_the_figures_and_keeps_the_advice():
    wide = header.verdict_line(BAD, {}, 120).plain
    assert wide == " ✗ forgetting: chosen -4.7 (below 0 since step 40), rejected -8.6 nats; try --learning-rate 3e-4"
    narrow = header.verdict_line(BAD, {}, 80).plain
    assert len(narrow) == 80
    assert narrow.startswith(" ✗ forgetting: chosen -4.7")
    assert narrow.endswith("…; try --learning-rate 3e-4")
    assert len(header.verdict_line(BAD, {}, 30).plain) == 30
    assert header.verdict_line(None, {}, 80).plain == ""


@pytest.mark.parametrize(("kind", "sign"), [("healthy", "✓"), ("at chance", "!"), ("too early to tell", "·")])
def test_a_level_is_told_without_colour_and_words_are_text(kind, sign):
    text = header.verdict_line(Verdict(kind, "[red]x\x1b[31m", ""), {}, 80).plain
    assert text == f" {sign} {kind}: [red]x\\u{{1b}}[31m"


async def test_it_is_judged_beside_the_event_loop_and_only_when_events_came(training, monkeypatch):
    threads, found = [], [BAD, Verdict("healthy", "chosen +2.2")]
    monkeypatch.setattr(judging, "verdict", lambda history: threads.append(threading.current_thread()) or found[0])
    async with opened(training) as (pilot, screen):
        await until(pilot, lambda: "✗ forgetting: chosen -4.7" in seen(pilot))
        judged = len(threads)
        await pilot.press("a", "u", "2", "s")
        await until(pilot, lambda: not screen.working)
        assert len(threads) == judged
        found.pop(0)
        fakes.append(training, {"type": "eval", "step": 450, "time": fakes.NOW, **fakes.figures(450, "mio")})
        await until(pilot, lambda: "✓ healthy: chosen +2.2" in seen(pilot))
        assert len(threads) == judged + 1
        assert threading.main_thread() not in threads
        await pilot.press("z")
        assert "healthy" not in seen(pilot)
        await pilot.press("z")
        await pilot.resize_terminal(80, 20)  # no room
        await until(pilot, lambda: "healthy" not in seen(pilot) and "TRAINING" in seen(pilot))


async def test_a_verdict_stands_for_the_note_that_says_less(tmp_path, monkeypatch):
    stream = list(fakes.events(60))
    note = {"type": "note", "step": 60, "time": stream[-1]["time"], "level": "warning", "text": "less likely than"}
    run = fakes.make_run(tmp_path, "run", state="stopped", steps=60, stream=[*stream, note | {"code": "below"}])
    monkeypatch.setattr(judging, "verdict", lambda history: BAD)
    async with opened(run) as (pilot, _):
        await until(pilot, lambda: "✗ forgetting" in seen(pilot))
        assert "less likely than" not in seen(pilot)
        fakes.append(run, note | {"code": "gradients", "text": "another matter"})
        pilot.app.screen.work()
        await until(pilot, lambda: "another matter" in seen(pilot))
