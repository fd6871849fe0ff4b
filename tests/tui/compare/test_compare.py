"""Compare: figures and curves derived from the fakes by hand, and runs that grow."""

import asyncio
import json
import math
import time

import numpy as np
import pytest

from mio_local.runs.directory import Run, write_atomically
from mio_tui.app import MioApp
from mio_tui.compare.comparison import Comparison
from mio_tui.watched import Watched
from tests.helpers import fakes
from tests.helpers.tui.compare_screen import NARROW, WIDE, curves, opened, pair_in, press, row, settled
from tests.helpers.tui.screens import seen


@pytest.fixture
def pair(tmp_path) -> tuple[Run, Run]:
    return pair_in(tmp_path)


# figures


async def test_table_at_the_last_common_evaluation_and_first_less_second(tmp_path, pair):
    a, b = fakes.figures(400, "mio"), fakes.figures(400, "dpo")  # the last multiple of 50 that both reached
    app = MioApp(tmp_path)
    async with app.run_test(size=WIDE) as pilot:
        await opened(pilot, *pair)
        for keys, per, prefix, suffix, form in (
            ("", 1, "delta", "", "+.2f"), ("u", 100, "delta", "_per_token", "+.3f"),
            ("a", 100, "logps", "_per_token", "+.3f"), ("u", 1, "logps", "", "+.2f"),
        ):  # fmt: skip
            await press(pilot, *keys)
            assert "held out at step 400" in seen(pilot)
            sides = [f"{prefix}/{side}{suffix}" for side in ("chosen", "rejected")]
            for start, loss, figures in (("A ━ one", "MIO", a), ("B ╍ two", "DPO", b)):
                margin = (figures["delta/chosen"] - figures["delta/rejected"]) / per
                values = [format(value, form) for value in (figures[sides[0]], figures[sides[1]], margin)]
                assert row(app, start) == [
                    *f"{start} {loss} β 0.1".split(), *values, "0.66", "11.9k", "8.1", "3m20s",
                    "✓", "done",
                ]  # fmt: skip
            margin = (a["rewards/margins"] - b["rewards/margins"]) / 0.1 / per  # that figure has beta in it
            gaps = [format(gap, form) for gap in (a[sides[0]] - b[sides[0]], a[sides[1]] - b[sides[1]], margin)]
            assert row(app, "A − B") == ["A", "−", "B", *gaps, "0", "0", "%", "0", "0s"]


async def test_differences_of_speed_memory_and_time(tmp_path):
    faster = {"perf/tokens_per_second": 14_000.0, "perf/memory_peak": 6.6e9, "perf/seconds": 0.25}
    slower = {"perf/tokens_per_second": 10_000.0, "perf/memory_peak": 8.1e9, "perf/seconds": 0.5}
    runs = []
    for name, more in (("one", faster), ("two", slower)):
        stream = [event | (more if event["type"] == "step" else {}) for event in fakes.events(100)]
        stream[40]["perf/tokens_per_second"] = 1.0  # a hiccup moves no median
        runs.append(fakes.make_run(tmp_path, name, steps=100, stream=stream))
    app = MioApp(tmp_path)
    async with app.run_test(size=WIDE) as pilot:
        await opened(pilot, *runs)
        assert row(app, "A ━ one")[-5:-2] == ["14.0k", "6.6", "25s"]
        assert row(app, "B ╍ two")[-5:-2] == ["10.0k", "8.1", "50s"]
        assert row(app, "A − B")[-4:] == ["+40", "%", "-1.5", "-25s"]


async def test_without_evaluations_training_figures_are_used_and_named_so(tmp_path):
    runs = [
        fakes.make_run(tmp_path, name, "stopped", steps, stream=[fakes.step_event(n) for n in range(1, steps + 1)])
        for name, steps in (("one", 30), ("two", 40))
    ]
    app = MioApp(tmp_path)
    async with app.run_test(size=WIDE) as pilot:
        screen = await opened(pilot, *runs)
        assert "no evaluations yet: training batches at step 30" in seen(pilot)
        assert list(curves(screen, 0)) == ["B two", "A one"]
        assert curves(screen, 0)["B two"][0].tolist() == list(range(1, 41))


async def test_the_evaluation_before_the_first_step_is_no_common_one_where_steps_are(tmp_path):
    for name, steps, every in (("one", 140, 50), ("two", 145, 70)):
        fakes.make_run(tmp_path, name, "stopped", steps, stream=list(fakes.events(steps, every=every)))
    app = MioApp(tmp_path)
    async with app.run_test(size=WIDE) as pilot:
        await opened(pilot, Run(tmp_path / "one"), Run(tmp_path / "two"))
        assert "no later held-out step in common: training batches at step 140" in seen(pilot)
        assert row(app, "A ━ one")[-3:] == ["1m10s", "■", "stopped"]


@pytest.mark.parametrize(
    ("digests", "said"), [(("x", "y"), True), (("x", ""), False), (("x", "x"), False)]
)
async def test_data_that_changed_is_said_and_other_settings_explain_it(tmp_path, digests, said):
    runs = [fakes.make_run(tmp_path, name, steps=50) for name in ("one", "two")]
    for run, digest in zip(runs, digests, strict=True):
        write_atomically(run.info, json.dumps({**run.read_info(), "data_digest": digest}))
    app = MioApp(tmp_path)
    async with app.run_test(size=WIDE) as pilot:
        await opened(pilot, *runs)
        assert ("the data changed between the runs" in seen(pilot)) == said
    recipe = fakes.recipe()
    other = recipe.model_copy(update={"train": recipe.train.model_copy(update={"seed": 7})})
    write_atomically(runs[1].recipe, other.dump())
    async with MioApp(tmp_path).run_test(size=WIDE) as pilot:
        await opened(pilot, *runs)
        assert "! train.seed" in seen(pilot)
        assert "the data changed" not in seen(pilot)


async def test_a_key_that_is_pressed_while_a_run_is_read_counts(tmp_path, pair, monkeypatch):
    app = MioApp(tmp_path)
    async with app.run_test(size=WIDE) as pilot:
        screen = await opened(pilot, *pair)
        load = Watched.load
        reading = asyncio.Event()

        async def slowly(watched):
            reading.set()
            await asyncio.sleep(0.2)
            return await load(watched)

        monkeypatch.setattr(Watched, "load", slowly)
        screen.work()
        await reading.wait()
        await pilot.press("m")
        await settled(pilot, lambda: "margin" in screen.parts.seen.panels[0].title)


async def test_runs_without_a_step_in_common_say_so(tmp_path):
    one = fakes.make_run(tmp_path, "one", stream=[fakes.step_event(1), {"type": "eval", "step": 10, "loss": 1.0}])
    two = fakes.make_run(tmp_path, "two", stream=[fakes.step_event(2)])
    app = MioApp(tmp_path)
    async with app.run_test(size=NARROW) as pilot:
        await opened(pilot, one, two)
        assert "no step in common yet" in seen(pilot)
        assert row(app, "A ━ one")[3:] == ["MIO", *"—" * 7]


# curves


async def test_x_is_steps_tokens_or_seconds(tmp_path, pair):
    app = MioApp(tmp_path)
    async with app.run_test(size=WIDE) as pilot:
        screen = await opened(pilot, *pair)
        for shown, each in (("step", 1), ("tokens", 6000), ("time", 0.5), ("step", 1)):
            for name, last in (("A one", 1000), ("B two", 400)):
                np.testing.assert_allclose(curves(screen, 0)[name][0], each * np.arange(0, last + 1, 50))
            assert f"x: {shown}" in seen(pilot)
            await press(pilot, "b")


async def test_metrics_go_round(tmp_path, pair):
    app = MioApp(tmp_path)
    a = fakes.figures(100, "mio")
    async with app.run_test(size=WIDE) as pilot:
        screen = await opened(pilot, *pair)
        seen = []
        for _ in range(4):
            seen.append([curves(screen, side)["A one"][1][2] for side in (0, 1)])  # of step 100
            await press(pilot, "m")
    np.testing.assert_allclose(seen[0], [a["delta/chosen"], a["delta/rejected"]])
    np.testing.assert_allclose(seen[1], [a["delta/chosen"] - a["delta/rejected"], a["rewards/accuracies"]])
    np.testing.assert_allclose(seen[2], [a["loss"], a["mi/js"]])
    assert seen[3] == seen[0]


async def test_likelihoods_share_one_y_range_that_holds_both(tmp_path, pair):
    app = MioApp(tmp_path)
    async with app.run_test(size=WIDE) as pilot:
        screen = await opened(pilot, *pair)
        for keys in ("", "u", "a"):
            await press(pilot, *keys)
            left, right = screen.query_one(Comparison).seen.panels
            low, high = left.y_fixed
            assert left.y_fixed == right.y_fixed
            held_out = [curve.y for panel in (left, right) for curve in panel.curves if curve.marks]
            assert low <= min(y.min() for y in held_out)
            assert high >= max(y.max() for y in held_out)


async def test_loss_guides_are_what_each_objective_starts_at(tmp_path, pair):
    app = MioApp(tmp_path)
    async with app.run_test(size=WIDE) as pilot:
        screen = await opened(pilot, *pair)
        await press(pilot, "m", "m")
        guides = {guide.name: guide.y for guide in screen.query_one(Comparison).seen.panels[0].guides}
        assert guides == {"A start": pytest.approx(math.log(4)), "B start": pytest.approx(math.log(2))}


async def test_log_y_is_for_what_is_positive(tmp_path, pair):
    app = MioApp(tmp_path)
    async with app.run_test(size=WIDE) as pilot:
        screen = await opened(pilot, *pair)
        await press(pilot, "l")
        assert "log y is for loss and information" in seen(pilot)
        await press(pilot, "m", "m", "l")
        assert [chart.log_y for chart in screen.query_one(Comparison).charts] == [True, True]
        await press(pilot, "m")
        assert [chart.log_y for chart in screen.query_one(Comparison).charts] == [False, False]


async def test_training_is_drawn_where_there_is_room_or_smoothing_is_asked_for(tmp_path, pair):
    app = MioApp(tmp_path)
    async with app.run_test(size=NARROW) as pilot:
        screen = await opened(pilot, *pair)
        assert sorted(curves(screen, 0)) == ["A", "B"]
        await press(pilot, "s")
        assert sorted(curves(screen, 0)) == ["A", "A training", "B", "B training"]
        before = screen.view.smoothing
        await press(pilot, "s")
        assert screen.view.smoothing != before
        await pilot.resize_terminal(*WIDE)
        await settled(pilot)
        assert "A one" in curves(screen, 0)


async def test_a_run_that_trains_goes_on_growing(tmp_path, pair):
    live = fakes.make_run(tmp_path, "live", "training", steps=60)
    app = MioApp(tmp_path)
    app.poll_seconds = 0.05
    async with app.run_test(size=WIDE) as pilot:
        await pilot.pause()
        with fakes.alive(live):
            screen = await opened(pilot, pair[0], live)
            assert "held out at step 50" in seen(pilot)
            assert row(app, "B ╍ live")[-1] == "60/1000"
            assert screen.query_one(Comparison).charts[0].x_range == (0, 1000)
            fakes.append(live, *list(fakes.events(200))[2 + 3 * 2 + 60 :])
            fakes.set_status(live, step=200)
            await settled(pilot, lambda: "held out at step 200" in seen(pilot))
            assert row(app, "B ╍ live")[-1] == "200/1000"
            assert curves(screen, 0)["B live"][0].tolist() == [0, 50, 100, 150, 200]
        await settled(pilot, lambda: row(app, "B ╍ live")[-1] == "lost")  # the lock is free


async def test_nothing_is_drawn_while_nothing_changes_or_another_screen_is_on_top(tmp_path, pair, monkeypatch):
    drawn = []
    draw = Comparison.draw
    monkeypatch.setattr(Comparison, "draw", lambda self, *given: (drawn.append(1), draw(self, *given)))
    live = fakes.make_run(tmp_path, "live", "training", steps=60)
    app = MioApp(tmp_path)
    app.poll_seconds = 0.02
    async with app.run_test(size=WIDE) as pilot:
        await pilot.pause()
        with fakes.alive(live):
            await opened(pilot, pair[0], live)
            await pilot.pause(0.2)
            before = len(drawn)
            await pilot.pause(0.4)
            assert len(drawn) == before
            await pilot.press("question_mark")
            await pilot.pause(0.2)
            fakes.append(live, fakes.step_event(61))
            await pilot.pause(0.3)
            assert len(drawn) == before
            await pilot.press("escape")
            await settled(pilot, lambda: len(drawn) > before)


@pytest.mark.slow
async def test_opens_50_000_events_and_a_key_answers(tmp_path, pair):
    stream = [fakes.step_event(number) for number in range(1, 25_001)]
    runs = [fakes.make_run(tmp_path, f"long-{number}", steps=25_000, total=25_000, stream=stream) for number in (1, 2)]
    app = MioApp(tmp_path)
    async with app.run_test(size=WIDE) as pilot:
        began = time.monotonic()
        screen = await opened(pilot, *runs)
        await settled(pilot, lambda: "training batches at step 25000" in seen(pilot))
        assert time.monotonic() - began < 8  # measured 1.6 s on a slow core
        began = time.process_time()
        await press(pilot, "m")
        assert time.process_time() - began < 1
        assert screen.view.metric == "margin"
