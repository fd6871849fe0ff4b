"""A run of rounds on the live screen: its rewards, its newest group of answers, and the way to the pairs' figures."""

import numpy as np
import pytest

from mio_tui.live import header
from mio_tui.live.log import entries
from mio_tui.live.panels import chart_title
from mio_tui.live.plots import Look, plots
from mio_tui.live.reading import Reading
from mio_tui.live.rewards.answer_group import group_text
from mio_tui.live.rewards.reward_line import reward_line
from mio_tui.live.rewards.reward_plots import REWARD_CHARTS, UNTOLD, WAITING, reward_plots
from tests.helpers import fakes
from tests.helpers.tui import fake_rounds as rounds
from tests.helpers.tui.live_screen import opened, shown
from tests.helpers.tui.screens import seen, until
from tests.tui.live.test_parts import history

COLORS = {"chosen": "blue", "rejected": "yellow"}
FIRST, LAST = rounds.reward_event(0, 0.3), rounds.reward_event(60, 0.5)
RUN = (rounds.round_event(1, 0.4), FIRST, rounds.round_event(2, 0.6), LAST)


def test_the_plots_are_of_the_rounds_and_of_the_held_out_prompts():
    found = dict(zip(REWARD_CHARTS, reward_plots(history(*RUN), Look()), strict=True))
    curves = {name: {curve.name: curve for curve in plot.curves} for name, plot in found.items()}
    reward = curves["reward"]
    assert reward["drawn"].x.tolist() == [0, 50]
    assert reward["drawn"].y.tolist() == [0.4, 0.6]
    np.testing.assert_allclose([reward["-1 sd"].y, reward["+1 sd"].y], [[0.1, 0.3], [0.7, 0.9]])
    assert reward["-1 sd"].thin
    assert reward["held out"].marks
    assert reward["held out"].x.tolist() == [0, 60]
    assert reward["held out"].y.tolist() == [0.3, 0.5]
    passes = curves["pass rate"]
    assert passes["pass@4"].y.tolist() == pytest.approx([0.6, 0.8])
    assert passes["pass@4"].dash
    assert passes["held out"].y.tolist() == [0.3, 0.5]  # 30 and 50 of 100 right
    assert curves["length"]["drawn"].y.tolist() == [41, 42]
    assert curves["length"]["held out"].y.tolist() == [38, 38]
    assert curves["KL"]["KL"].y.tolist() == [0, 0.2]
    assert curves["entropy"]["entropy"].y.tolist() == [0.95, 0.9]
    assert reward_plots(history(*RUN), Look(per_token=True))[3].curves[0].y.tolist() == [0, 0.005]
    assert chart_title(found["reward"], COLORS).plain == "reward held out 0.50 ─drawn 0.60"


def test_a_reward_that_tells_no_right_from_wrong_has_no_pass_rate_and_says_why():
    made = rounds.round_event(1, 0.4)
    for key in ("pass@1", "pass@k", "k"):
        del made[key]
    assert reward_plots(history(), Look())[1].empty == WAITING
    plot = reward_plots(history(made), Look())[1]
    assert plot.empty == UNTOLD
    assert not any(np.isfinite(curve.y).any() for curve in plot.curves)


@pytest.mark.parametrize("kind", ["eval", "step"])
def test_the_contrastive_bound_is_drawn_only_where_it_is_another(kind):
    def names(nce):
        event = {"type": kind, "step": 1, "mi/dv": 0.31, "mi/js": 0.2, "mi/nce": nce}
        return [curve.name for curve in plots(history(event), Look())[4].curves if not curve.thin]

    assert names(0.31) == names(None) == ["DV", "JS"]
    assert names(0.6) == ["NCE", "DV", "JS"]


def test_the_header_says_the_round_and_as_many_figures_as_fit():
    reading = Reading(step=60, total=400, round=(2, 3))
    assert " step 60/400 · round 2 of 3 " in header.progress_line({"state": "training"}, reading, 0, 0, "", 100).plain
    full = reward_line(RUN[2], LAST, FIRST, Look(), 200).plain
    assert full == (
        " reward held out 0.50 ± 0.04 (0.30 at step 0) │ drawn 0.60 │ pass@1 0.60 │ KL +0.20 │ 42 tokens "
        "│ entropy 0.900"
    )
    assert reward_line(RUN[2], LAST, FIRST, Look(), 60).plain == full[: full.index(" │ pass@1")]
    assert [entry.words for entry in entries(history(*RUN), Look())][-2:] == [
        "round 2 of 8: reward 0.60 ± 0.30, pass@1 0.60, 42 tokens, KL +0.20",
        "held-out reward 0.50 ± 0.04 of 100 prompts",
    ]  # fmt: skip


@pytest.mark.parametrize("width", [20, 50, 90, 140])
def test_a_group_has_the_best_answer_first_and_equal_ones_once(width):
    text = group_text([rounds.round_event(1, 0.4)], 0, True, width)
    rows = text.plain.split("\n")
    assert max(map(len, rows)) <= width
    assert rows[0].startswith(" 1.00 6 + 7 = 13")
    assert rows[1].startswith("   ×2")
    assert "\x1b" not in text.plain
    assert "[/bold]" in text.plain.replace("\n      ", "")
    told = [text.plain.index(words) for words in (" 1.00 ", " 0.50 ", "   — ", "PROMPT")]
    assert told == sorted(told)
    assert rows[0].count(" │ ") == (0 if width < 71 else 1 if width < 108 else 2)


@pytest.mark.parametrize("group", [{}, {"answers": "x", "rewards": 3}, {"answers": [], "rewards": []}])
def test_a_damaged_group_is_none(group):
    assert group_text([{"group": group}], 0, True, 40).plain == "no answer in this group"


@pytest.mark.parametrize("size", [(80, 24), (140, 45)])
async def test_a_run_of_rounds_opens_on_its_rewards_and_v_turns_to_its_pairs(tmp_path, size):
    run = fakes.make_run(tmp_path, "rounds", state="training", steps=120, total=400, stream=list(rounds.events(120)))
    with fakes.alive(run):
        async with opened(run, size=size) as (pilot, screen):
            await until(pilot, lambda: "drawn" in shown(screen))
            assert "round 3 of 8" in seen(pilot)
            assert "held out 0.40" in seen(pilot)
            await pilot.press("6")
            assert "answers of round 3 with their rewards" in seen(pilot)
            assert "[bold]13[/bold]" in seen(pilot)
            await pilot.press("left_square_bracket")
            assert "answers of round 2" in seen(pilot)
            assert screen.check_action("turn", ("change",)) is False
            await pilot.press("v")
            await until(pilot, lambda: "answer at step 100" in seen(pilot))
            fakes.append(run, rounds.round_event(4, 0.5))
            await pilot.press("v")
            await until(pilot, lambda: "answers of round 4" in seen(pilot))


async def test_a_run_of_pairs_has_no_rewards_to_turn_to(tmp_path):
    async with opened(fakes.make_run(tmp_path, "pairs", steps=100)) as (_, screen):
        assert screen.check_action("turn", ("pairs",)) is False
        assert "chosen" in shown(screen)
