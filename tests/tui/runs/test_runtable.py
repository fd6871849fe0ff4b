"""The table of runs: the cursor keeps its run, the mouse does what the keys do, and what is not seen is not drawn."""

import json
import shutil

import pytest

from mio_local.runs.directory import Run
from mio_local.runs.index import Index
from mio_tui.runs.runtable import RunTable
from mio_tui.screens.help import HelpScreen
from tests.helpers import fakes
from tests.helpers.tui.pseudo_terminal import PtyApp
from tests.helpers.tui.runs_screen import go, listed, names, row
from tests.helpers.tui.screens import screen_text, seen, until


def many(folder, count, **first):
    """So many runs, the last made first in the list; their Δchosen rises with their number."""
    one = fakes.make_run(folder, "run-000", steps=50, **first)
    held = one.read_status()
    for number in range(1, count):
        run = Run(folder / f"run-{number:03}")
        shutil.copytree(one.path, run.path)
        held["held_out"]["delta/chosen"] = number / 100
        run.status.write_text(json.dumps({**held, "time": fakes.NOW + number}))


def line_of(screen):
    """The line of the terminal that the cursor is on."""
    return screen.table.cursor_row - screen.table.top


async def test_the_cursor_stays_on_its_run_and_on_its_line(folder):
    many(folder, 60)
    async with listed(folder, (80, 24), 60) as (pilot, screen):
        await pilot.press("pagedown", "pagedown", "k", "k")
        here, line = screen.table.highlighted, line_of(screen)
        assert 0 < line < screen.table.page - 1
        fakes.make_run(folder, "newest", steps=50, time=fakes.NOW + 99)
        fakes.set_status(Run(folder / "newest"), time=fakes.NOW + 99)
        await until(pilot, lambda: "newest" in names(screen))
        assert (screen.table.highlighted, line_of(screen)) == (here, line)
        for _ in range(len(screen.table.places)):
            await pilot.press("s")
            assert screen.table.highlighted == here
            await pilot.press("S")
            assert screen.table.highlighted == here
            assert 0 <= line_of(screen) < screen.table.page
        await pilot.press("slash", *here[-3:])
        assert names(screen) == [here]
        await pilot.press("x", "x")
        assert names(screen) == []
        await pilot.press("escape")
        assert len(names(screen)) == 61
        assert screen.table.highlighted == here


async def test_at_the_top_what_is_new_is_seen(folder):
    many(folder, 40)
    async with listed(folder, (80, 24), 40) as (pilot, screen):
        await pilot.press("j")
        here = screen.table.highlighted
        fakes.set_status(fakes.make_run(folder, "newest", steps=50), time=fakes.NOW + 99)
        await until(pilot, lambda: "newest" in seen(pilot))
        assert screen.table.highlighted == here


@pytest.mark.parametrize(("gone", "then"), [((2,), 3), ((2, 3), 4), ((2, 3, 4, 5), 1), ((0, 1), 2)])
async def test_where_its_run_is_gone_the_cursor_goes_to_the_next(folder, gone, then):
    many(folder, 6)
    async with listed(folder, (80, 24), 6) as (pilot, screen):
        order = list(names(screen))
        await go(pilot, screen, order[2])
        for place in gone:
            shutil.rmtree(folder / order[place])
        await until(pilot, lambda: len(names(screen)) == 6 - len(gone))
        assert screen.table.highlighted == order[then]
        assert f" {order[then]}  " in screen_text(pilot.app)[-4]  # below the table, too


async def test_keys_move_and_keep_the_cursor_in_sight(folder):
    many(folder, 60)
    async with listed(folder, (80, 24), 60) as (pilot, screen):
        table = screen.table
        for keys, place in (
            ("j", 1), ("down", 2), ("k", 1), ("up", 0), ("up", 0), ("end", 59), ("j", 59), ("pageup", 59 - table.page),
            ("pagedown", 59), ("home", 0), ("pagedown", table.page), ("ctrl+end", 59), ("ctrl+home", 0),
        ):  # fmt: skip
            await pilot.press(keys)
            assert table.cursor_row == place, keys
            assert 0 <= line_of(screen) < table.page
            assert table.highlighted in seen(pilot).replace("\n", " ")


async def test_the_mouse_scrolls_goes_and_orders(folder):
    many(folder, 60)
    async with listed(folder, (80, 24), 60) as (pilot, screen):
        table = screen.table
        table.scroll_to(y=10, animate=False)
        await pilot.click(RunTable, offset=(6, 1 + 3))
        assert table.cursor_row == 13
        titles = screen_text(pilot.app)[1]
        assert "when▼" in titles
        for title, shown in (("Δchosen", "Δchosen▼"), ("Δchosen", "Δchosen▲"), ("obj", "obj▲"), ("when", "when▼")):
            await pilot.click(RunTable, offset=(titles.index(title), 0))
            await pilot.pause()
            assert shown in screen_text(pilot.app)[1]
            assert sum(screen_text(pilot.app)[1].count(sign) for sign in "▲▼") == 1
        await pilot.click(RunTable, offset=(titles.index("Δchosen"), 0))
        assert names(screen)[:2] == ["run-059", "run-058"]
        await pilot.press("S")
        assert names(screen)[:2] == ["run-001", "run-002"]
        assert "by Δchosen ▲" in screen_text(pilot.app)[0]


async def test_a_key_draws_two_rows_of_thousands(folder, monkeypatch):
    """Each row of the table was made anew at every change: 0.6 s for 300 runs."""
    many(folder, 300)
    async with listed(folder, (80, 24), 300) as (pilot, screen):
        made = []
        whole = RunTable._cells
        monkeypatch.setattr(RunTable, "_cells", lambda table, row: made.append(row.name) or whole(table, row))
        asked = []
        monkeypatch.setattr(RunTable, "refresh_line", lambda table, y: asked.append(y))
        await pilot.press("j")
        assert asked == [1, 2]  # below the titles
        await pilot.press("s")
        seen(pilot)
        assert len(set(made)) <= 2 * screen.table.page


async def test_a_row_that_changes_is_drawn_alone(folder, monkeypatch):
    many(folder, 30)
    async with listed(folder, (80, 24), 30) as (pilot, _):
        assert "+0.28" in row(pilot, "run-028")
        asked = []
        whole = RunTable.refresh_line
        monkeypatch.setattr(RunTable, "refresh_line", lambda table, y: asked.append(y) or whole(table, y))
        fakes.set_status(Run(folder / "run-028"), held_out={"delta/chosen": 7})
        await until(pilot, lambda: "+7.00" in row(pilot, "run-028"))
        assert asked == [2]


@pytest.mark.parametrize("width", [80, 120, 140, 200])
async def test_why_a_run_failed_is_readable_at_every_width(folder, width):
    """It was cut to two letters at 120 columns, and missing at 80."""
    reason = "MLX ran out of memory: 7.9 of 8.0 GB were in use when 4 pairs of 1024 tokens came; try --batch-size 2"
    fakes.make_run(folder, "broke", "failed", steps=50, reason=reason)
    async with listed(folder, (width, 40), 1) as (pilot, _):
        said = " ".join(line.strip() for line in screen_text(pilot.app)[-3:-1])
        assert reason in said


@pytest.mark.slow
async def test_a_covered_list_looks_at_nothing(folder, monkeypatch):
    many(folder, 3)
    async with listed(folder, rows=3) as (pilot, screen):
        looks = []
        whole = Index.read
        monkeypatch.setattr(Index, "read", lambda *given: looks.append(1) or whole(*given))
        await until(pilot, lambda: looks, 5)
        await pilot.press("question_mark")
        await until(pilot, lambda: isinstance(pilot.app.screen, HelpScreen))
        await pilot.pause(0.2)
        looks.clear()
        await pilot.pause(2.5)
        assert not looks
        fakes.make_run(folder, "new", steps=50)
        await pilot.press("escape")
        await until(pilot, lambda: "new" in names(screen), 5)


def test_what_is_typed_fast_goes_to_the_filter(folder):
    """The `d` of a name deleted, as the field had not got the keys yet."""
    many(folder, 30)
    with PtyApp(80, 24, "-m", "mio_local.cli", "--runs", str(folder)) as app:
        app.wait_for("run-029")
        app.settle(0.5)
        app.press("/", "d", "o", "n", "e", " ", "2", "8", "enter")
        app.wait_for("runs 1 of 30 /done 28")


@pytest.mark.slow
def test_nothing_is_written_while_nothing_changes(folder):
    """A row of ages wrote to the terminal every few seconds."""
    many(folder, 30)
    with PtyApp(140, 45, "-m", "mio_local.cli", "--runs", str(folder)) as app:
        app.wait_for("held out, step")  # the curves of the first run
        app.settle(1.5)
        before = app.sent
        app.settle(3)
        assert app.sent == before
        app.press("j")
        app.wait(lambda: app.sent > before)
