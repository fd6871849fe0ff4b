"""What is done to the marked runs at once: stopped, deleted into the trash, taken back."""

import contextlib

import pytest

from mio_local.runs import trash
from mio_tui.dialogs import Ask
from tests.helpers import fakes
from tests.helpers.tui.runs_screen import go, listed, names
from tests.helpers.tui.screens import seen, until


async def answer(pilot, screen, key, says):
    """Give this answer to the question that says that, once it is there."""
    await until(pilot, lambda: isinstance(pilot.app.screen, Ask) and says in seen(pilot))
    await pilot.press(key)
    await until(pilot, lambda: pilot.app.screen is screen)


@pytest.mark.parametrize("damage", [None, "status", "recipe"])
async def test_a_deleted_run_is_in_the_trash_and_comes_back(folder, damage):
    run = fakes.make_run(folder, "gone", steps=50)
    fakes.make_run(folder, "kept", steps=50)
    if damage:
        getattr(run, damage).write_text("{")
    held = run.events.read_bytes()
    async with listed(folder, rows=2) as (pilot, screen):
        await go(pilot, screen, "gone")
        await pilot.press("d")
        await answer(pilot, screen, "escape", "Delete gone?")
        assert run.exists()
        await pilot.press("d")
        await answer(pilot, screen, "d", "u takes them back")
        await until(pilot, lambda: names(screen) == ["kept"])
        assert screen.table.highlighted == "kept"
        [deleted] = trash.deleted(folder)
        assert (deleted.path / "events.jsonl").read_bytes() == held
        await pilot.press("u")
        await until(pilot, lambda: set(names(screen)) == {"gone", "kept"})
        assert screen.table.highlighted == "gone"
        assert run.events.read_bytes() == held
        assert trash.deleted(folder) == []
        await pilot.press("u")
        await until(pilot, lambda: "the trash of" in seen(pilot))


async def test_all_marked_runs_are_deleted_and_taken_back_as_one(folder):
    for number in range(9):
        fakes.make_run(folder, f"run-{number}", steps=50)
    async with listed(folder, rows=9) as (pilot, screen):
        order = list(names(screen))
        for _ in range(7):
            await pilot.press("space", "j")
        await pilot.press("d")
        await answer(pilot, screen, "d", "Delete 7 runs?")
        await until(pilot, lambda: names(screen) == order[7:])
        assert screen.marked == []
        assert screen.table.highlighted == order[7]
        await pilot.press("u")
        await until(pilot, lambda: set(names(screen)) == set(order))
        assert screen.table.highlighted == order[0]  # what came back, the first of it
        [said] = [toast.message for toast in pilot.app._notifications]
        assert said == f"back again: {', '.join(order[:6])} and 1 more"


async def test_the_last_deletion_is_taken_back_not_one_before(folder):
    for name in ("first", "second", "third"):
        fakes.make_run(folder, name, steps=50)
    async with listed(folder, rows=3) as (pilot, screen):
        for name in ("first", "second"):
            await go(pilot, screen, name)
            await pilot.press("d")
            await answer(pilot, screen, "d", f"Delete {name}?")
            await until(pilot, lambda name=name: name not in names(screen))
        await pilot.press("u")
        await until(pilot, lambda: set(names(screen)) == {"second", "third"})
        await pilot.press("u")
        await until(pilot, lambda: set(names(screen)) == {"first", "second", "third"})


async def test_what_trains_is_not_deleted(folder):
    busy = fakes.make_run(folder, "busy", state="training", steps=50)
    other = fakes.make_run(folder, "other", steps=50)
    async with listed(folder, rows=2) as (pilot, screen):
        with fakes.alive(busy):
            await until(pilot, lambda: "● 1 training" in seen(pilot))
            await go(pilot, screen, "busy")
            await pilot.press("d")
            await until(pilot, lambda: "busy: training, and not deleted" in seen(pilot))
            assert pilot.app.screen is screen
            await pilot.press("space", "j", "space", "d")
            await answer(pilot, screen, "d", "Delete other?")
            await until(pilot, lambda: names(screen) == ["busy"])
            assert not other.exists()
        await until(pilot, lambda: screen.state(busy) == "lost")
        await pilot.press("d")
        await until(pilot, lambda: isinstance(pilot.app.screen, Ask))
        with fakes.alive(busy):  # it came to life while the question stood
            await pilot.press("d")
            await until(pilot, lambda: "cannot be deleted" in seen(pilot))
            assert busy.exists()


async def test_a_run_that_cannot_be_deleted_says_why(folder, monkeypatch):
    for name in ("free", "stuck"):
        fakes.make_run(folder, name, steps=50)
    whole = trash.delete

    def refuse(run):
        if run.name == "stuck":
            raise PermissionError(13, "Permission denied")
        return whole(run)

    monkeypatch.setattr(trash, "delete", refuse)
    async with listed(folder, rows=2) as (pilot, screen):
        await pilot.press("space", "j", "space", "d")
        await answer(pilot, screen, "d", "Delete 2 runs?")
        await until(pilot, lambda: "stuck could not be deleted: Permission denied" in seen(pilot))
        await until(pilot, lambda: names(screen) == ["stuck"])
        await pilot.press("u")
        await until(pilot, lambda: set(names(screen)) == {"free", "stuck"})


async def test_deleting_a_link_leaves_what_it_points_to(folder, tmp_path):
    run = fakes.make_run(tmp_path / "elsewhere", "real", steps=50)
    fakes.make_run(folder, "other", steps=50)
    (folder / "linked").symlink_to(run.path)
    async with listed(folder, rows=2) as (pilot, screen):
        await go(pilot, screen, "linked")
        await pilot.press("d")
        await answer(pilot, screen, "d", "Delete linked?")
        await until(pilot, lambda: names(screen) == ["other"])
        assert run.exists()
        await pilot.press("u")
        await until(pilot, lambda: set(names(screen)) == {"linked", "other"})


async def test_all_marked_runs_that_live_are_stopped_after_one_question(folder):
    with contextlib.ExitStack() as stack:
        runs = {}
        for name, state in (("one", "training"), ("two", "paused"), ("three", "starting"), ("ended", "done")):
            runs[name] = fakes.make_run(folder, name, state, steps=50)
            if state != "done":
                stack.enter_context(fakes.alive(runs[name]))
        async with listed(folder, (80, 24), 4) as (pilot, screen):
            assert "x Stop" in seen(pilot)
            for name in ("one", "two", "ended"):
                await go(pilot, screen, name)
                await pilot.press("space")
            await pilot.press("x")
            await answer(pilot, screen, "escape", "Stop 2 runs?")
            assert [fakes.requests(run) for run in runs.values()] == [[], [], [], []]
            assert len(screen.marked) == 3
            await pilot.press("x")
            await answer(pilot, screen, "s", "Stop 2 runs?")
            await until(pilot, lambda: not screen.marked)
            assert [fakes.requests(run) for run in runs.values()] == [["stop"], ["stop"], [], []]
            await go(pilot, screen, "ended")
            await pilot.press("x")
            await until(pilot, lambda: "ended: nothing to stop" in seen(pilot))


async def test_there_is_nothing_to_stop_where_nothing_trains(folder):
    fakes.make_run(folder, "ended", steps=50)
    async with listed(folder, rows=1) as (pilot, screen):
        assert "x Stop" not in seen(pilot)
        await pilot.press("x")
        await pilot.pause(0.1)
        assert pilot.app.screen is screen
