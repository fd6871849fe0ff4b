"""The live screen on runs that nobody trains: its curves, what it survives, and what it costs."""

import contextlib
import json
import time

import numpy as np
import pytest

from mio_local.runs.events import rewind
from mio_local.runs.tail import Tail
from mio_tui import formatting
from mio_tui.app import MioApp
from mio_tui.live.widgets import PlotChart
from mio_tui.screens.live import LiveScreen
from tests.helpers import fakes
from tests.helpers.tui import live_screen, screens
from tests.helpers.tui.live_screen import opened, shown
from tests.helpers.tui.screens import seen, until

HOSTILE = "[/INST] [red]x[/] \x1b[31mred\x1b[0m \u202egnp.exe \U0001f469\u200d\U0001f4bb שלום"


training = live_screen.training


async def test_curves_are_what_the_events_say_and_grow(training):
    async with opened(training) as (pilot, screen):
        chosen = shown(screen)["chosen"]
        assert chosen.x.tolist() == list(range(0, 401, 50))
        assert chosen.y[-1] == pytest.approx(fakes.figures(400, "mio")["delta/chosen"])
        assert shown(screen)["chosen train"].x.size == 412
        assert "step 412/1,000" in seen(pilot)
        fakes.append(training, *(fakes.step_event(step) for step in range(413, 451)))
        fakes.append(training, {"type": "eval", "step": 450, **fakes.figures(450, "mio")})
        fakes.set_status(training, step=450)
        await until(pilot, lambda: shown(screen)["chosen"].x[-1] == 450)
        assert shown(screen)["chosen train"].x[-1] == 450
        assert "step 450/1,000" in seen(pilot)
        assert screen.panels.charts[0].x_end == 500  # what happened, with some room; not all 1000 steps


async def test_curves_survive_what_is_torn_unknown_or_null(training):
    async with opened(training) as (pilot, screen):
        odd = [{"type": "hum", "step": 413}, fakes.step_event(413, **{"delta/chosen": None}), ["no event"]]
        with training.events.open("a") as file:
            file.writelines(json.dumps(record) + "\n" for record in odd)
            file.write(json.dumps(fakes.step_event(414))[:200])
        await until(pilot, lambda: shown(screen)["chosen train"].x[-1] == 413)
        assert np.isnan(shown(screen)["chosen train"].y[-1])
        with training.events.open("a") as file:
            file.write(json.dumps(fakes.step_event(414))[200:] + "\n")
        await until(pilot, lambda: shown(screen)["chosen train"].x[-1] == 414)
        await pilot.press("8")
        await until(pilot, lambda: "1 line of events.jsonl are no events" in seen(pilot))


async def test_a_resumed_run_is_drawn_anew(training):
    async with opened(training) as (pilot, screen):
        lines = training.events.read_bytes().splitlines(keepends=True)
        kept = next(n for n, line in enumerate(lines) if json.loads(line)["step"] == 401)
        rewind(training.events, sum(map(len, lines[:kept])))
        fakes.append(training, fakes.step_event(401, **{"delta/chosen": 0.5}))
        await until(pilot, lambda: shown(screen)["chosen train"].x[-1] == 401)
        assert shown(screen)["chosen train"].x.size == 401
        assert shown(screen)["chosen train"].y[-1] == 0.5


async def test_lost_is_seen_within_three_seconds(tmp_path):
    run = fakes.make_run(tmp_path, "mio-run", state="training", steps=412)
    (run.checkpoints / "step-000400").mkdir()
    (run.checkpoints / "step-000400" / "trainer.json").write_text("{}")
    with contextlib.ExitStack() as holding:
        holding.enter_context(fakes.alive(run))
        async with opened(run) as (pilot, screen):
            screen.app.poll_seconds = 0.25
            assert "● TRAINING" in seen(pilot)
            holding.close()
            await until(pilot, lambda: "? LOST" in seen(pilot), seconds=3)
            await until(pilot, lambda: "r Resume from checkpoint step 400" in seen(pilot))
            await until(pilot, lambda: "p Pause" not in seen(pilot))  # the footer follows




async def test_text_from_outside_is_only_text(tmp_path):
    stream = list(fakes.events(60))
    stream[0] |= {"device": HOSTILE, "objective": HOSTILE}
    stream += [
        {"type": "note", "step": 60, "time": stream[-1]["time"], "level": "error", "code": "x", "text": HOSTILE * 50},
        {"type": "sample", "step": 60, "prompt": HOSTILE, "base": "x" * 200_000, "policy": HOSTILE},
        {"type": "checkpoint", "step": 60, "path": HOSTILE}, {"type": "control", "step": 60, "command": HOSTILE},
    ]  # fmt: skip
    run = fakes.make_run(
        tmp_path, "mio-run", state="failed", steps=60, stream=stream, reason=HOSTILE, model=f"a/{HOSTILE}"
    )
    run.log.write_text(HOSTILE + "y" * 200_000 + "\n" + HOSTILE)
    async with opened(run, size=(140, 45)) as (pilot, _):
        for key in ("8", "z", "6"):
            await pilot.press(key)
            raw = "".join(segment.text for strip in screens._strips(pilot.app) for segment in strip)
            assert "\x1b" not in raw
            assert "\u202e" not in raw
            assert "[/INST] [red]x[/] \\u{1b}[31mred" in seen(pilot)
        await pilot.press(*["pagedown"] * 4)
        await until(pilot, lambda: "197,500 more characters" in seen(pilot))


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("recipe.toml", b"\xff\xfe\x00", "cannot be read"), ("recipe.toml", b"[loss]\nbeta = -1", "beta"),
        ("status.json", b"\xff", "✗ DAMAGED"), ("status.json", b'{"state": 7, "step": "x", "time": null}', "mio-run"),
        ("events.jsonl", b"\xff\xfe\x00\n{}\n[1]\n", "it ended before the first step"),
        ("run.json", b"[1, 2]", "step 60/1,000"), ("run.json", b'{"sessions": [7, {"started": "x"}]}', "step 60/1,000"),
    ],
)  # fmt: skip
async def test_damaged_files_are_said_not_raised(tmp_path, name, content, said):
    run = fakes.make_run(tmp_path, "mio-run", steps=60)
    (run.path / name).write_bytes(content)
    async with opened(run, size=(140, 45)) as (pilot, screen):
        await until(pilot, lambda: said in seen(pilot))
        assert not screen.requests.trouble


async def test_a_deleted_run_is_said(tmp_path):
    run = fakes.make_run(tmp_path, "mio-run", steps=60)
    async with opened(run) as (pilot, _):
        run.path.rename(tmp_path / ".gone")
        await until(pilot, lambda: "its folder is gone" in seen(pilot))


@pytest.mark.slow
async def test_every_size_is_drawn(training):
    async with opened(training, size=(80, 24)) as (pilot, _):
        for size in ((20, 5), (1, 1), (60, 16), (110, 31), (110, 32), (250, 80), (60, 80)):
            await pilot.resize_terminal(*size)
            for key in "168":
                await pilot.press(key)
            words = "step 412" if size[0] == 20 else "TRAINING" if size[0] > 1 else ""
            await until(pilot, lambda words=words: words in seen(pilot))




async def test_nothing_is_drawn_while_nothing_changes(training, monkeypatch):
    monkeypatch.setattr(formatting, "now", lambda: fakes.NOW)
    drawn = []
    async with opened(training, size=(140, 45)) as (pilot, _):
        await pilot.pause(0.3)
        look = PlotChart.look
        monkeypatch.setattr(PlotChart, "look", lambda *a: drawn.append(a) or look(*a))
        monkeypatch.setattr("textual.widgets.Static.update", lambda *a, **k: drawn.append(a))
        await pilot.pause(0.5)  # ten polls
        assert drawn == []
        fakes.append(training, fakes.step_event(413))
        await until(pilot, lambda: len(drawn) >= 5)


@pytest.mark.slow
async def test_a_long_run_opens_soon(tmp_path):
    stream = list(fakes.events(49_000, total=49_000, every=100))
    run = fakes.make_run(tmp_path, "mio-run", state="training", steps=49_000, total=49_000, stream=stream)
    with fakes.alive(run):
        app = MioApp(tmp_path)
        async with app.run_test(size=(140, 45)) as pilot:
            await pilot.pause(0.1)
            began = time.perf_counter()
            app.show_run(run)
            await until(pilot, lambda: "● TRAINING" in seen(pilot) and "49,000/49,000" in seen(pilot))
            painted = time.perf_counter() - began
            await until(pilot, lambda: app.screen.was_read and shown(app.screen)["chosen train"].x.size == 49_000, 20)
            # 0.2 s and 1 s on a machine that does nothing else (tests/bench/opening.py)
            assert painted < 3
            assert time.perf_counter() - began < 6


@pytest.mark.slow
async def test_a_run_is_read_once_for_all_screens(tmp_path, monkeypatch):
    run, other = (fakes.make_run(tmp_path, name, steps=2000) for name in ("one", "two"))
    records = []
    poll = Tail.poll
    monkeypatch.setattr(Tail, "poll", lambda tail: records.append((tail.path, poll(tail))) or records[-1][1])

    def read(run):
        return sum(len(found) for path, (_, found) in records if path == run.events)

    app = MioApp(tmp_path)
    async with app.run_test(size=(140, 45)) as pilot:
        await until(pilot, lambda: read(run) or read(other))  # the preview
        app.show_run(run)
        await until(pilot, lambda: isinstance(app.screen, LiveScreen) and app.screen.was_read)
        assert shown(app.screen)["chosen train"].x.size == 2000
        fakes.append(run, fakes.step_event(2001))
        app.screen.work()
        await until(pilot, lambda: shown(app.screen)["chosen train"].x.size == 2001)
        app.compare([run, other])
        await until(pilot, lambda: "chosen" in seen(pilot) and "B" in seen(pilot) and read(other))
        await pilot.pause(0.3)
        assert read(run) == len(run.events.read_bytes().splitlines())
        assert read(other) == len(other.events.read_bytes().splitlines())
