"""What the live screen says: the same names and units everywhere, and the answer before the prompt."""

import math

import numpy as np
import pytest

from mio_tui.live import header
from mio_tui.live.log import entries
from mio_tui.live.panels import chart_title
from mio_tui.live.plots import Look, plots
from mio_tui.live.reading import Reading
from mio_tui.live.sample import sample_text
from mio_tui.live.time_left import Pace
from tests.helpers import fakes
from tests.helpers.tui import live_screen
from tests.helpers.tui.live_screen import opened
from tests.helpers.tui.screens import seen, until
from tests.tui.live.test_parts import history

training = live_screen.training
COLORS = {"chosen": "blue", "rejected": "yellow"}


@pytest.mark.parametrize(("look", "unit"), [(Look(), "answer"), (Look(per_token=True), "token")])
def test_chart_header_and_log_say_the_same_figure_in_the_same_unit(look, unit):
    run = history(*fakes.events(100))
    figures = run.last("eval")
    suffix = "" if unit == "answer" else "_per_token"
    chosen, rejected = (format(figures[f"delta/{side}{suffix}"], look.form) for side in ("chosen", "rejected"))
    title = chart_title(plots(run, look)[0], COLORS).plain
    assert title.startswith(f"likelihood, Δ nats per {unit} chosen {chosen} rejected {rejected} target +")
    line = header.figures_line(Reading(figures=figures), look, COLORS, 200).plain
    assert f"Δchosen {chosen} │ Δrejected {rejected} nats per {unit} │ reward margin +" in line
    assert f"eval Δchosen {chosen} Δrejected {rejected} acc" in entries(run, look)[-3].words


def test_titles_tell_lines_of_one_colour_by_their_pattern():
    titles = [chart_title(plot, COLORS).plain for plot in plots(history(*fakes.events(50)), Look())]
    last = fakes.figures(50, "mio")
    assert titles[1:4] == [
        f"reward margin {last['rewards/margins']:+.2f}", f"accuracy {last['rewards/accuracies']:.2f}",
        f"loss {last['loss']:.3f} start {math.log(4):.3f}",
    ]  # fmt: skip
    assert titles[4] == f"info, nats ─JS {last['mi/js']:.3f} ╌DV {last['mi/dv']:.3f}"
    assert chart_title(plots(None, Look())[0], COLORS).plain == "likelihood, Δ nats per answer"


def test_without_held_out_pairs_the_title_tells_what_is_drawn():
    run = history(*(fakes.step_event(number, **{"rewards/margins": float(number)}) for number in range(1, 9)))
    plot = plots(run, Look())[1]
    assert chart_title(plot, COLORS, 0).plain == "reward margin +8.00"
    assert chart_title(plot, COLORS, 25).plain == "reward margin +4.50"  # the mean of one to eight


def test_the_newest_answer_stands_on_top_beside_the_base_s():
    event = {"step": 60, "prompt": "How many? " * 100, "base": "two\n\nor so", "policy": "three " * 20}
    rows = sample_text([event], 0, True, 80).plain.split("\n")
    assert rows[0].split() == ["STEP", "60", "│", "BASE"]
    assert rows[1].startswith("three three")
    assert rows[1].endswith(" │ two")
    assert rows[3].endswith(" │ or so")
    assert all(len(row) <= 80 for row in rows)
    assert rows.index("PROMPT") > 4
    narrow = sample_text([event], 0, True, 40).plain
    assert narrow.index("STEP 60") < narrow.index("BASE") < narrow.index("PROMPT")
    assert all(len(row) <= 40 for row in narrow.split("\n"))


async def test_a_queued_run_says_its_place_in_line(training):
    folder = training.path.parent
    second = fakes.make_run(folder, "two", "queued", 0, stream=[], after=training.name, since=2.0)
    third = fakes.make_run(folder, "three", "queued", 0, stream=[], after="two", since=3.0)
    with fakes.alive(second), fakes.alive(third):
        async with opened(third) as (pilot, _):
            await until(pilot, lambda: " 2nd in line, after two" in seen(pilot))
            fakes.set_status(second, state="stopped")
            fakes.set_status(third, after=training.name)
            await until(pilot, lambda: f" 1st in line, after {training.name}" in seen(pilot))


def test_the_clock_at_the_end_names_another_day(monkeypatch):
    monkeypatch.setenv("TZ", "UTC")
    header.time.tzset()
    status, noon = {"state": "training"}, 1_795_003_200.0  # Wednesday, 2026-11-18 12:00 UTC

    def line(seconds):
        reading = Reading(pace=Pace(10.0, seconds / 100, noon), total=200, step=100)
        return header.progress_line(status, reading, noon, noon, "", 200).plain

    assert line(208.0).endswith("left 3m28s (done 12:03)")
    assert line(13 * 3600.0).endswith("left 13h00m (done Thu 01:00)")
    assert line(30 * 86400.0).endswith("left 720h00m")
    assert "done" not in line(math.nan)
    monkeypatch.delenv("TZ")
    header.time.tzset()


async def test_small_panels_have_values_and_ticks_at_120_columns(training):
    async with opened(training, size=(120, 35)) as (pilot, _):
        await until(pilot, lambda: "STEP 400" in seen(pilot))
        rows = seen(pilot).splitlines()
        for title in ("2 reward margin +0.5", "3 accuracy 0.66", "4 loss 0.9", "5 info, nats ─JS 0.110 ╌DV 0.13"):
            top = next(number for number, row in enumerate(rows) if title in row)
            box = [row[rows[top].index(title) - 3 :] for row in rows[top + 1 : top + 4]]
            assert sum("┤" in row for row in box) >= 2, title
        assert "Six hours of light" in seen(pilot)
        assert "Basil is an herb." in seen(pilot)


async def test_a_terminal_that_grows_shows_all_panels_with_what_they_hold(training):
    async with opened(training, size=(80, 24)) as (pilot, _):
        await pilot.resize_terminal(140, 45)
        for words in ("2 reward margin +0.5", "4 loss 0.9", "STEP 400", "11.9k tok/s", "400 sample answered"):
            await until(pilot, lambda words=words: words in seen(pilot))


def test_a_tie_before_the_first_step_is_no_accuracy():
    still = {"delta/chosen": 0.0, "delta/rejected": 0.0, "rewards/accuracies": 0.0}
    first, second = ({"type": "eval", "step": step, "time": 1.0, "loss": 1.0} for step in (0, 5))
    moved = {"delta/chosen": 0.5, "delta/rejected": 0.0, "rewards/accuracies": 0.75}
    run = history({**first, **still}, {**second, **moved})
    curve = plots(run, Look())[2].curves[-1]
    assert np.isnan(curve.y[0])
    assert curve.y[1] == 0.75
    assert [entry.words.partition("acc ")[2][:4] for entry in entries(run, Look())] == ["— lo", "0.75"]
