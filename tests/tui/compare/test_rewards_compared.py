"""Runs of rounds side by side: their rewards over one another, and in the table where a run has any."""

import pytest

from mio_tui.app import MioApp
from tests.helpers import fakes
from tests.helpers.tui import fake_rounds as rounds
from tests.helpers.tui.compare_screen import WIDE, curves, opened, press, row
from tests.helpers.tui.screens import seen


def made(folder, name, steps):
    return fakes.make_run(folder, name, steps=steps, total=400, stream=list(rounds.events(steps)))


async def test_rewards_are_overlaid_and_stand_in_the_table(tmp_path):
    app = MioApp(tmp_path)
    async with app.run_test(size=WIDE) as pilot:
        await opened(pilot, made(tmp_path, "one", 200), made(tmp_path, "two", 160))
        assert "held out at step 150" in seen(pilot)
        # 0.3 + 150 / 1000 held out, 45 of 100 right; the newest round by then began at step 150, its KL 0.2 times 3
        assert row(app, "A ━ one")[10:13] == ["0.45", "0.45", "+0.60"]
        assert row(app, "A − B")[6:10] == ["0", "0", "0", "0"]
        titles = []
        for _ in range(3):
            await press(pilot, *("m" if titles else "mmm"))
            titles += [panel.title for panel in app.screen.parts.seen.panels]
            if len(titles) == 2:
                left = curves(app.screen, 0)
                assert left["A one"][1].tolist() == pytest.approx([0.3, 0.35, 0.4, 0.45, 0.5])
                assert left["B drawn"][0].tolist() == [0, 50, 100, 150]
        assert titles == [
            "reward", "pass@1, share of answers", "answer length, tokens", "pass@k, share of prompts",
            "KL, nats per answer", "entropy, nats per token",
        ]  # fmt: skip
        await press(pilot, "m")
        assert "chosen · Δ nats per answer" in seen(pilot)


async def test_a_run_of_pairs_beside_one_of_rounds_has_dashes_and_two_of_pairs_no_columns(tmp_path):
    app = MioApp(tmp_path)
    pairs = [fakes.make_run(tmp_path, name, steps=200) for name in ("pairs", "more")]
    async with app.run_test(size=WIDE) as pilot:
        await opened(pilot, made(tmp_path, "one", 200), pairs[0])
        assert row(app, "B ╍ pairs")[10:13] == ["—", "—", "—"]
    app = MioApp(tmp_path)
    async with app.run_test(size=WIDE) as pilot:
        await opened(pilot, *pairs)
        assert "reward" not in seen(pilot)
        await press(pilot, *"mmm")
        assert "chosen · Δ nats per answer" in seen(pilot)
