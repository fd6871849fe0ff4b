"""Compare: choosing runs, what their settings share, moving about, and writing files."""


import pytest
from textual.widgets import OptionList

from mio_local.runs.directory import Run
from mio_tui.app import MioApp
from mio_tui.compare.comparison import Comparison
from mio_tui.compare.pick import PickRun
from mio_tui.dialogs import Ask
from mio_tui.screens.compare import CompareScreen
from tests.helpers import fakes
from tests.helpers.tui.compare_screen import NARROW, WIDE, curves, opened, pair_in, press, row, settled
from tests.helpers.tui.screens import screen_text, seen


@pytest.fixture
def pair(tmp_path) -> tuple[Run, Run]:
    return pair_in(tmp_path)


# choosing runs


async def test_space_hides_a_run_and_the_difference_is_of_the_two_that_are_shown(tmp_path, pair):
    third = fakes.make_run(tmp_path, "three", steps=250)
    app = MioApp(tmp_path)
    async with app.run_test(size=WIDE) as pilot:
        screen = await opened(pilot, *pair, third)
        assert "−" not in seen(pilot)
        assert "held out at step 250" in seen(pilot)
        await press(pilot, "down", "space")
        assert "B · two" in seen(pilot)
        assert row(app, "A − C")
        assert not any(name.startswith("B") for name in curves(screen, 0))
        await press(pilot, "down", "space")
        assert "held out at step 1000" in seen(pilot)
        await press(pilot, "up", "up", "space")
        assert "no run is shown" in seen(pilot)
        await press(pilot, "space", "down", "space")
        assert row(app, "A − B")


async def test_a_click_moves_the_cursor(tmp_path, pair):
    app = MioApp(tmp_path)
    async with app.run_test(size=WIDE) as pilot:
        screen = await opened(pilot, *pair)
        await settled(pilot, lambda: screen.query_one("#table").region.height >= 3)
        await pilot.click("#table", offset=(10, 2))
        assert screen.cursor == 1
        await pilot.click("#table", offset=(10, 3))  # the difference is no run
        assert screen.cursor == 1


async def test_more_runs_than_letters_and_the_same_run_twice(tmp_path):
    runs = [fakes.make_run(tmp_path, f"run-{number}", steps=50) for number in range(6)]
    app = MioApp(tmp_path)
    async with app.run_test(size=WIDE) as pilot:
        screen = await opened(pilot, runs[0], *runs)
        assert [member.name for member in screen.members] == ["run-0", "run-1", "run-2", "run-3"]
        assert "the first 4 of 6 runs" in seen(pilot)
        await press(pilot, "i")
        assert app.screen is screen
        assert "4 runs are compared already" in seen(pilot)


async def test_one_run_asks_for_another(tmp_path, pair):
    app = MioApp(tmp_path)
    async with app.run_test(size=NARROW) as pilot:
        screen = await opened(pilot, pair[0])
        await settled(pilot, lambda: isinstance(app.screen, PickRun))
        shown = [str(option.prompt) for option in app.screen.query_one(OptionList).options]
        assert len(shown) == 1
        assert shown[0].startswith("✓ two · dpo · Qwen3-0.6B")
        await pilot.press("escape")
        await settled(pilot, lambda: app.screen is screen)
        assert "i adds another to compare with" in seen(pilot)
        await pilot.press("i")
        await settled(pilot, lambda: isinstance(app.screen, PickRun))
        await pilot.press("enter")
        await settled(pilot, lambda: app.screen is screen and "A − B" in seen(pilot))


async def test_no_run_to_compare_with(tmp_path):
    app = MioApp(tmp_path)
    only = fakes.make_run(tmp_path, "only", steps=50)
    async with app.run_test(size=NARROW) as pilot:
        await opened(pilot, only)
        await settled(pilot, lambda: isinstance(app.screen, PickRun))
        assert "No other run in this folder" in seen(pilot)
        await pilot.press("enter", "escape")
        await settled(pilot, lambda: isinstance(app.screen, CompareScreen))


# settings


async def test_head_says_what_is_shared_and_what_differs(tmp_path):
    one = fakes.make_run(tmp_path, "one", steps=50)
    two = fakes.make_run(tmp_path, "two", steps=50)
    two.recipe.write_text(
        fakes.recipe("dpo", 0.5, learning_rate=3e-5, seed=7).model_copy(
            update={"data": fakes.recipe().data.model_copy(update={"source": "/far/[red]other.jsonl"})}
        ).dump(),
        encoding="utf-8",
    )  # fmt: skip
    app = MioApp(tmp_path)
    async with app.run_test(size=WIDE) as pilot:
        await opened(pilot, one, two)
        assert screen_text(app)[0].strip() == (
            "Compare  2 runs · same model ✓ · differs: ! data.source hh-rlhf.jsonl | [red]other.jsonl, "
            "! train.seed 0 | 7, loss.name mio | dpo, loss.b…"
        )
        await pilot.resize_terminal(*NARROW)
        await settled(pilot)
        assert screen_text(app)[0].strip() == (
            "Compare  2 runs · same model ✓ · differs: ! data.source, ! train.seed, loss.n…"
        )


@pytest.mark.parametrize(("second", "words"), [("x", "no setting differs"), ("y", "the data changed between the runs")])
async def test_data_that_changed_under_the_same_name(tmp_path, second, words):
    runs = [fakes.make_run(tmp_path, name, steps=50) for name in ("one", "two")]
    for run, digest in zip(runs, ("x", second), strict=True):
        run.info.write_text(f'{{"data_digest": "{digest}"}}', encoding="utf-8")
    app = MioApp(tmp_path)
    async with app.run_test(size=WIDE) as pilot:
        await opened(pilot, *runs)
        assert words in screen_text(app)[0]
        assert ("same model, data, seed ✓" in screen_text(app)[0]) == (second == "x")


# moving


async def test_escape_goes_out_one_layer(tmp_path, pair):
    app = MioApp(tmp_path)
    async with app.run_test(size=WIDE) as pilot:
        screen = await opened(pilot, *pair)
        left, right = screen.query("#charts > Vertical")
        await press(pilot, "z")
        assert (left.display, right.display, left.size.width > 130) == (True, False, True)
        await press(pilot, "z", "left")
        assert (left.display, right.display) == (False, True)
        assert screen.query_one(Comparison).charts[1].cursor is not None
        await press(pilot, "escape")
        assert [chart.cursor for chart in screen.query_one(Comparison).charts] == [None, None]
        await press(pilot, "escape")
        assert (left.display, right.display) == (True, True)
        await pilot.press("escape")
        await settled(pilot, lambda: app.screen is not screen)


async def test_both_charts_move_together(tmp_path, pair):
    app = MioApp(tmp_path)
    async with app.run_test(size=WIDE) as pilot:
        screen = await opened(pilot, *pair)
        left, right = screen.query_one(Comparison).charts
        await press(pilot, "left", "left", "left")
        assert left.cursor == right.cursor
        assert left.cursor is not None
        await press(pilot, "plus")
        assert left.x_range == right.x_range
        width = left.x_range[1] - left.x_range[0]
        assert width == pytest.approx(500)
        before = left.x_range
        await press(pilot, "shift+left")
        assert left.x_range == right.x_range
        assert left.x_range[0] == pytest.approx(max(before[0] - 125, 0))
        await press(pilot, "minus", "0")
        assert left.x_range == right.x_range == (0, 1000)


# export


@pytest.mark.slow
async def test_export_writes_both_files_and_says_where(tmp_path, pair, monkeypatch):
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    app = MioApp(tmp_path)
    async with app.run_test(size=WIDE) as pilot:
        await opened(pilot, *pair)
        await pilot.press("e")
        await settled(pilot, lambda: isinstance(app.screen, Ask))
        assert "compare-one-two in " in seen(pilot)
        await pilot.press("b")
        await pilot.pause(0.1)
        assert "writing CSV and PNG…" in seen(pilot)
        await settled(pilot, lambda: "✓ wrote compare-one-two.csv and compare-one-two.png" in seen(pilot), 30)
        assert sorted(file.name for file in here.iterdir()) == ["compare-one-two.csv", "compare-one-two.png"]


async def test_export_of_what_is_shown_alone_and_its_errors_in_one_line(tmp_path, pair, monkeypatch):
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    (here / "compare-two.csv").mkdir()  # in the way
    app = MioApp(tmp_path)
    async with app.run_test(size=WIDE) as pilot:
        screen = await opened(pilot, *pair)
        await press(pilot, "space", "e")
        await pilot.press("c")
        await settled(pilot, lambda: app.screen is screen and "✗" in seen(pilot))
        assert "compare-two.csv: cannot be written: Is a directory" in seen(pilot)
        await press(pilot, "down", "space", "e")
        assert app.screen is screen
        assert "nothing to export" in seen(pilot)
