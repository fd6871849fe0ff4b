"""The review by hand: a key for each decision, written at once; left and gone on with; then trained on."""

import json

import pytest

from mio_local.making.hand_review import reviewed_file
from mio_tui.new.screen import NewRunScreen
from mio_tui.screens.review_pairs import ReviewPairsScreen
from tests.helpers.tui.make_pages import HOSTILE, folder, form, pair, review, write_pairs
from tests.helpers.tui.screens import screen_text, seen, until

__all__ = ["folder"]


@pytest.fixture
def file(tmp_path):
    return write_pairs(tmp_path / "pairs.jsonl", [pair(number) for number in range(10)])


def rows(file):
    return [json.loads(text) for text in reviewed_file(file).read_text(encoding="utf-8").splitlines()]


async def test_ten_pairs_are_reviewed_a_key_each(folder, file):
    async with review(folder, file) as (pilot, screen):
        questions = screen.review.questions
        assert "1 of 10" in seen(pilot)
        for key in ("1", "2", "equals_sign", "s", "1", "2", "u", "1", "1", "2"):
            pilot.app.simulate_key(key)  # as fast as they come
        await until(pilot, lambda: len(screen.review.decided) == 8)
        assert "9 of 10" in seen(pilot)
        kept = [one for number, one in enumerate(questions[:8]) if number not in (2, 3)]
        firsts = [True, False, True, True, True, False]
        assert [row["chosen"] for row in rows(file)] == [
            one.first if first else one.second for one, first in zip(kept, firsts, strict=True)
        ]
        assert {row["judge"] for row in rows(file)} == {"hand"}
        await pilot.press("=", "=")
        await until(pilot, lambda: "That was the last one: 6 pairs" in seen(pilot))
        assert "3 alike, 1 skipped" in seen(pilot)
        await pilot.press("1")
        assert len(rows(file)) == 6


async def test_a_review_that_was_left_goes_on_from_the_form(folder, file, monkeypatch):
    monkeypatch.chdir(file.parent)
    (file.parent / "pairs.jsonl.work").touch()
    async with review(folder, file) as (pilot, _):
        await pilot.press("1", "2", "escape")
        await until(pilot, lambda: not isinstance(pilot.app.screen, ReviewPairsScreen))
    async with form(folder) as (pilot, screen):
        screen.focus_now("make.out")
        await until(pilot, lambda: "reviewed in part" in seen(pilot))
        assert screen.draft.text("make.out") == "pairs-2.jsonl"
        await pilot.press("pagedown", "enter")
        await until(pilot, lambda: isinstance(pilot.app.screen, ReviewPairsScreen) and "3 of 10" in seen(pilot))


async def test_the_reviewed_pairs_are_trained_on(folder, file):
    async with review(folder, file) as (pilot, screen):
        await pilot.press("n")
        assert pilot.app.screen is screen  # nothing is reviewed yet
        await pilot.press("1", "n")
        await until(pilot, lambda: isinstance(pilot.app.screen, NewRunScreen) and len(pilot.app.screen.steps) == 4)
        draft = pilot.app.screen.state.draft
        assert draft.text("data.source") == str(reviewed_file(file))
        assert draft.text("model.name") == "m"  # as the file's lines say


async def test_keys_that_look_for_the_next_pair_decide_nothing(folder, file):
    """What is written down takes a key that the bar names."""
    async with review(folder, file) as (pilot, screen):
        first = screen.asked
        await pilot.press("right", "left", "a", "0", "tab")
        assert screen.asked == first
        assert not reviewed_file(file).exists()
        await pilot.press("=")
        await until(pilot, lambda: screen.asked != first)


async def test_answers_stand_beside_each_other_where_there_is_room(folder, file):
    async with review(folder, file, (80, 24)) as (pilot, _):
        assert not any("─ 1 ─" in row and "─ 2 ─" in row for row in screen_text(pilot.app))
        await pilot.resize_terminal(100, 24)
        await until(pilot, lambda: any("─ 1 ─" in row and "─ 2 ─" in row for row in screen_text(pilot.app)))


async def test_a_file_that_cannot_be_read_says_why(folder, tmp_path):
    from mio_tui.app import MioApp

    app = MioApp(folder)
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.pause()
        app.review_pairs(tmp_path / "none.jsonl", {})
        await until(pilot, lambda: "cannot be read" in seen(pilot))
        await pilot.press("1", "=", "s", "u", "n", "escape")
        await until(pilot, lambda: not isinstance(app.screen, ReviewPairsScreen))


async def test_a_decision_that_cannot_be_written_is_asked_again(folder, file, monkeypatch):
    async with review(folder, file) as (pilot, screen):
        reviewed_file(file).mkdir()
        await pilot.press("1")
        # on the screen its words are broken where the path before them is long
        await until(pilot, lambda: any("s a directory" in told.message for told in pilot.app._notifications))
        assert screen.asked == screen.review.questions[0]


@pytest.mark.parametrize("size", [(60, 16), (80, 24), (140, 45)])
async def test_texts_of_strangers_are_only_text(folder, tmp_path, size):
    rows = [pair(0, prompt=HOSTILE, chosen=HOSTILE, rejected=f"{HOSTILE} not")]
    async with review(folder, write_pairs(tmp_path / "pairs.jsonl", rows), size) as (pilot, _):
        text = seen(pilot)
        assert text.count("[red]r[/") == 3
        assert "\x1b" not in text
        await pilot.press("pagedown", "1")
        await until(pilot, lambda: "That was the last one" in seen(pilot))


async def test_up_and_down_move_what_is_longer_than_its_place(folder, tmp_path):
    long = "\n".join(f"line {number}" for number in range(60))
    rows = [pair(0, chosen=f"{long} a", rejected=f"{long} b")]
    async with review(folder, write_pairs(tmp_path / "pairs.jsonl", rows)) as (pilot, _):
        assert "line 40" not in seen(pilot)
        await pilot.press(*["pagedown"] * 4)
        await until(pilot, lambda: "line 40" in seen(pilot))
