"""What the live screen derives from the events, against figures worked out by hand."""

import asyncio
import math
from pathlib import Path

import numpy as np
import pytest

from mio_local.recipe import build
from mio_local.runs.directory import Run
from mio_local.runs.history import History
from mio_tui.live.log import entries, tail
from mio_tui.live.notice import memory_advice
from mio_tui.live.plots import Look, plots, target
from mio_tui.live.reading import read
from mio_tui.live.system import machine, sparkline, system_text
from mio_tui.live.time_left import pace
from mio_tui.watched import Watched
from tests.helpers import fakes


def history(*events, loss="mio", **recipe):
    tables = {"loss": {"name": loss, "beta": 0.1}, **recipe}
    found = History(Run(Path("run")), build(tables, "test"))
    found.add(events)
    return found


def step(number, time, seconds=2.0, **more):
    return {"type": "step", "step": number, "time": time, "perf/seconds": seconds, **more}


# pace


def test_evaluations_count_as_work_and_pauses_do_not():
    run = history(
        {"type": "started", "step": 0, "time": 100.0},
        step(1, 130.0),  # 28 seconds of baseline evaluation before it
        step(2, 132.0),
        step(3, 144.0),  # an evaluation of 10 seconds
        {"type": "control", "step": 3, "time": 145.0, "command": "pause"},
        {"type": "control", "step": 3, "time": 990.0, "command": "resume"},
        step(4, 992.0),
    )
    found = pace(run)
    assert found.elapsed == 30 + 2 + 12 + 2
    assert found.per_step == pytest.approx((2 + 12 + 2) / 3)
    assert found.left(6) == pytest.approx(6 * 16 / 3)
    assert found.last == 992


def test_the_night_between_two_sessions_is_no_work():
    run = history({"type": "started", "step": 0, "time": 0.0}, step(1, 4.0), step(2, 6.0), step(3, 300.0))
    assert pace(run).elapsed == 300
    assert pace(run, [-5.0, 290.0]).elapsed == 4 + 2 + 2


def test_a_pause_before_the_first_step_is_no_work():
    run = history(
        {"type": "started", "step": 0, "time": 0.0},
        {"type": "control", "step": 0, "time": 36_000.0, "command": "resume"},
        step(1, 36_004.0),
        step(2, 36_006.0),
    )
    assert pace(run, [-5.0]).elapsed == 2 + 2


def test_a_machine_that_slept_did_not_work_and_a_long_evaluation_did():
    stream = [{"type": "started", "step": 0, "time": 0.0}, *(step(n, 2.0 * n) for n in range(1, 31))]
    slept = history(*stream, step(31, 28_900.0), step(32, 28_902.0))
    assert pace(slept).elapsed == 32 * 2
    assert pace(slept).per_step == pytest.approx(2)
    scored = history(*stream, {"type": "eval", "step": 30, "loss": 1.0}, step(31, 962.0), step(32, 964.0))
    assert pace(scored).elapsed == 964


@pytest.mark.parametrize("scored", [[0], [0, 100]])
def test_an_evaluation_before_the_first_step_says_nothing_once_there_are_steps(tmp_path, scored):
    stream = [event for event in fakes.events(140) if event["type"] != "eval"]
    stream += [{"type": "eval", "step": at, "time": fakes.NOW, **fakes.figures(at, "mio")} for at in scored]
    watched = Watched(fakes.make_run(tmp_path, "run", steps=140, stream=stream))
    asyncio.run(watched.load())
    found = read(watched, {"state": "training"}, Look())
    assert found.figures["step"] == (100 if 100 in scored else 140)
    names = {curve.name for curve in found.plots[0].curves if not curve.thin}
    assert names == {"chosen", "rejected"}
    assert {curve.x[-1] for curve in found.plots[0].curves if not curve.thin} == {found.figures["step"]}


def test_a_clock_that_was_set_back_makes_no_negative_time():
    run = history({"type": "started", "step": 0, "time": 50.0}, step(1, 55.0), step(2, 10.0), step(3, None))
    assert pace(run).elapsed == 5 + 2 + 2


def test_no_step_no_pace():
    assert math.isnan(pace(history({"type": "started", "step": 0, "time": 0.0})).left(100))


# the objective's target


def test_target_per_token_is_the_mean_over_answers_of_different_lengths():
    tokens = np.array([7, 30, 112])
    nats = math.log(2) / 0.1
    run = history({"type": "started", "step": 0, "inverse_tokens": float(np.mean(1 / tokens))})
    assert target(run, Look(per_token=True)) == pytest.approx(np.mean(nats / tokens))
    assert target(run, Look(per_token=False)) == pytest.approx(nats)


def test_no_target_where_it_is_not_exactly_known():
    mean = {"name": "mio", "beta": 0.1, "reduction": "mean"}
    run = history({"type": "started", "step": 0, "inverse_tokens": 0.01})
    run.recipe = build({"loss": mean}, "test")
    assert target(run, Look(per_token=True)) == pytest.approx(math.log(2) / 0.1)
    assert target(run, Look(per_token=False)) is None
    assert target(history(), Look(per_token=True)) is None
    assert target(history(loss="dpo"), Look(per_token=False)) is None


def test_guides_of_the_absolute_view_begin_at_the_first_evaluation():
    first = {"type": "eval", "step": 0, "logps/chosen": -120.0, "logps/rejected": -140.0}
    later = {"type": "eval", "step": 50, "logps/chosen": -110.0, "logps/rejected": -150.0}
    guides = plots(history(first, later), Look(change=False, per_token=False))[0].guides
    assert [guide.y for guide in guides] == pytest.approx([-120, -140, -120 + math.log(2) / 0.1])
    assert plots(history(later), Look(change=False, per_token=False))[0].guides == ()


@pytest.mark.parametrize(("loss", "start"), [("mio", math.log(4)), ("dpo", math.log(2)), ("sft", None)])
def test_the_loss_has_its_known_start(loss, start):
    guides = plots(history(loss=loss), Look())[3].guides
    assert [guide.y for guide in guides] == ([] if start is None else [pytest.approx(start)])


def test_without_held_out_pairs_training_is_the_curve():
    (curve,) = plots(history(*(fakes.step_event(number) for number in range(1, 9))), Look())[1].curves
    assert not curve.thin
    assert curve.y.tolist() == [fakes.figures(number, "mio")["rewards/margins"] for number in range(1, 9)]


# the other panels


def test_memory_is_compared_with_its_estimate():
    run = history(fakes.step_event(1))
    assert "9.0 GB estimated, -10% measured" in system_text(machine(run, {"memory_estimate": 9e9}, 0), 60).plain
    assert "estimated" not in system_text(machine(run, {"memory_estimate": None}, 0), 60).plain


def test_speed_is_the_mean_of_the_last_steps():
    steps = [step(number, number, seconds=9.0) for number in range(1, 50)]
    steps += [step(number, number, seconds=0.5) for number in range(50, 70)]
    assert "2.00 step/s" in system_text(machine(history(*steps), {}, 0), 60).plain


def test_speeds_are_what_was_done_in_the_time_that_it_took():
    rates = [{"perf/tokens_per_second": 6000 / took, "perf/pairs_per_second": 8 / took} for took in (0.5, 10.0)]
    steps = [step(n, n, seconds=0.5, **rates[0]) for n in range(1, 20)] + [step(20, 20, seconds=10.0, **rates[1])]
    shown = system_text(machine(history(*steps), {}, 0), 60).plain
    assert "6.2k tok/s · 1.03 step/s · 8.2 pair/s" in shown


def test_sparkline_keeps_the_highest_and_the_gaps():
    assert sparkline((0.0, 4.0, math.nan, 8.0), 4) == "▁▅ █"
    assert sparkline((1.0,) * 500 + (8.0,) + (1.0,) * 499, 10).count("█") == 1
    assert sparkline((), 10) == ""
    assert sparkline((1.0,), 0) == ""


def test_log_is_in_order_across_types():
    found = entries(history(
        {"type": "eval", "step": 50, "time": 2.0}, {"type": "eval", "step": 0, "time": 1.0},
        {"type": "checkpoint", "step": 50, "time": 3.0, "path": "p"},
        {"type": "note", "step": 20, "time": 1.5, "level": "warning", "text": "hot"},
    ), Look())  # fmt: skip
    assert [(entry.step, entry.level) for entry in found] == [(0, "info"), (20, "warning"), (50, "info"), (50, "info")]
    assert found[-1].words == "checkpoint p"


def test_log_tells_what_an_evaluation_found():
    held = {"type": "benchmark", "step": 9, "time": 5.0, "name": "preference", "metric": "loss", "of": "policy"}
    found = [entry.words for entry in entries(history(
        held | {"value": 1.25, "low": 1.0, "high": 1.5}, held | {"name": "gsm8k", "value": 0.5, "stderr": 0.05},
        held | {"value": None, "low": "x", "name": "[red]\x1b[31m"},
    ), Look())]  # fmt: skip
    assert found[0] == "preference loss policy 1.2500 (1.0000 to 1.5000)"
    assert found[1] == "gsm8k loss policy 0.5000 ± 0.0500"
    assert found[2].endswith("policy —")
    assert "\x1b" not in found[2]


def test_tail_of_a_huge_log(tmp_path):
    file = tmp_path / "trainer.log"
    file.write_text("\n".join(f"line {number}" for number in range(100_000)) + "\nlast \x1b[31m")
    found = tail(file)
    assert found[-2:] == ("line 99999", "last \\u{1b}[31m")
    assert len(found) == 40
    assert tail(tmp_path / "none") == ()


def test_advice_for_a_run_out_of_memory_names_its_own_settings():
    run = history(train={"batch_size": 6, "accumulate": 2, "grad_checkpoint": True}, data={"max_tokens": 600})
    advice = memory_advice("RuntimeError: CUDA out of memory. Tried to allocate 2 GiB", run)
    assert "batch 6 → 3 with accumulate 2 → 4" in advice
    assert "max tokens 600 → 300" in advice
    assert "checkpointing" not in advice
    assert memory_advice("the gradient is nan", run) == ""
