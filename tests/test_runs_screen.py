"""The list of runs: what it shows, what its keys do, and what hostile or broken files do to it (nothing)."""

import contextlib
import json
import re
import time

import pytest

from mio_local import launch as launching
from mio_tui import text
from mio_tui.app import MioApp
from mio_tui.dialogs import Ask
from mio_tui.screens.compare import CompareScreen
from mio_tui.screens.live import LiveScreen
from mio_tui.screens.runs import RunsScreen
from tests import fakes, looks

SIGNS = {
    "queued": "◌", "starting": "◌", "training": "●", "paused": "‖", "stopping": "●",
    "done": "✓", "stopped": "■", "failed": "✗", "lost": "?",
}  # fmt: skip
LIVE = ("starting", "training", "paused", "stopping")
HOSTILE = ("[/INST]", "[red]x[/", "\x1b[31mred\x1b[0m", "🦜🦜🦜", "\u202eمرحبا بالعالم", "\x00\x07\r\n", "y" * 200_000)
BROKEN = (
    [],
    None,
    7,
    {"state": [], "metrics": []},
    {"state": "done", "held_out": 5, "metrics": "x"},
    {"state": "done", "step": 10**400, "total_steps": 10**400, "time": 10**400},
    {"state": "done", "time": -1e308, "held_out": {"delta/chosen": 1e308, "rewards/accuracies": -1e308}},
    {"state": "done", "held_out": {"delta/chosen": 10**400, "rewards/accuracies": float("nan")}},
    {"state": "starting", "doing": "reading", "total": 5},
    {"state": {"a": 1}, "reason": [1, 2], "model": {}, "loss_name": None, "data": 3, "step": "[/]"},
    {"state": "[bold", "step": None, "time": "now"},
)  # fmt: skip


@contextlib.asynccontextmanager
async def listed(folder, size=(100, 30), rows=None):
    """The app with its list on top and read; `rows` says how many it must have."""
    app = MioApp(folder)
    async with app.run_test(size=size, notifications=True) as pilot:
        await until(pilot, lambda: any(isinstance(screen, RunsScreen) for screen in app.screen_stack))
        await pilot.pause(0.1)
        if isinstance(app.screen, LiveScreen):  # one living run is opened at once
            await pilot.press("escape")
        screen = next(screen for screen in app.screen_stack if isinstance(screen, RunsScreen))
        await until(pilot, lambda: app.screen is screen and screen.rows is not None)
        if rows is not None:
            await until(pilot, lambda: screen.table.row_count == rows)
            await pilot.pause(0.1)
        yield pilot, screen


async def until(pilot, truth, seconds=5.0):
    end = time.monotonic() + seconds
    while not truth():
        assert time.monotonic() < end, seen(pilot)
        await pilot.pause(0.02)


def seen(pilot):
    return "\n".join(looks.screen_text(pilot.app))


def row(pilot, name):
    """The line of the table that shows this run."""
    found = re.compile(rf" [ ▸][◌●‖✓■✗?]  {re.escape(name)}")
    lines = [line.partition("│")[0] for line in looks.screen_text(pilot.app) if found.match(line)]
    assert lines, seen(pilot)
    return lines[0]


def names(screen):
    """The runs in the order of the table."""
    return [str(key.value) for key in screen.table.rows]


async def go(pilot, screen, name):
    """The cursor onto this run, by keys."""
    await pilot.press("home")
    screen.table.move_cursor(row=0)
    for _ in range(names(screen).index(name)):
        await pilot.press("down")
    assert screen.highlighted == name


@pytest.fixture
def launched(monkeypatch):
    """What would have been trained in the background."""
    queues = []
    monkeypatch.setattr(launching, "launch", lambda queue: queues.append([run.name for run in queue]))
    return queues


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "runs"


@pytest.mark.parametrize("size", [(80, 24), (140, 45)])
async def test_every_state_has_its_sign(folder, size):
    with contextlib.ExitStack() as stack:
        for state in SIGNS:
            run = fakes.make_run(folder, f"is-{state}", state="training" if state == "lost" else state, steps=50)
            if state in LIVE:
                stack.enter_context(fakes.alive(run))
        async with listed(folder, size, len(SIGNS)) as (pilot, screen):
            for state, sign in SIGNS.items():
                assert row(pilot, f"is-{state}").split()[:2] == [sign, f"is-{state}"]
            assert set(names(screen)[:4]) == {f"is-{state}" for state in LIVE}
            assert "● 4 training" in seen(pilot)


async def test_the_figures_are_those_of_the_held_out_pairs(folder):
    run = fakes.make_run(folder, "one", steps=100, state="stopped")
    fakes.set_status(run, held_out={"delta/chosen": 1.239, "rewards/accuracies": 0.714}, metrics={"delta/chosen": -9})
    bare = fakes.make_run(folder, "bare", steps=100, state="stopped")
    fakes.set_status(bare, held_out={}, metrics={"delta/chosen": -9})
    async with listed(folder, (80, 24), 2) as (pilot, _):
        assert row(pilot, "one").split() == ["■", "one", "MIO", "Qwen3-0.6B", "100/1000", "+1.24", "0.71"]
        assert row(pilot, "bare").split()[-2:] == ["-9.00", "—"]


@pytest.mark.parametrize("size", [(80, 24), (110, 32), (140, 45)])
async def test_the_footer_and_the_columns_fit(folder, size):
    with fakes.alive(fakes.make_run(folder, "qwen3-0.6b-mio-longest", state="training", steps=999)):
        async with listed(folder, size, 1) as (pilot, screen):
            assert all(word in looks.screen_text(pilot.app)[-1] for word in ("? Help", "d Delete", "q Quit"))
            if size[0] != 110:  # the narrowest wide screen cuts the last column
                assert screen.table.virtual_size.width <= screen.table.size.width
            assert "↑" in row(pilot, "qwen3-0.6b-mio-longest"[:19])


async def test_the_filter_takes_every_word_and_escape_clears_it(folder):
    for name, loss in (("alpha", "mio"), ("beta", "dpo"), ("alphabet", "dpo")):
        fakes.make_run(folder, name, loss=loss, steps=50)
    async with listed(folder, rows=3) as (pilot, screen):
        await pilot.press("slash", *"ALPHA")
        assert set(names(screen)) == {"alpha", "alphabet"}
        await pilot.press("space", *"dpo")
        assert names(screen) == ["alphabet"]
        await pilot.press("enter", "enter")
        await until(pilot, lambda: isinstance(pilot.app.screen, LiveScreen))
        assert pilot.app.screen.watched.run.name == "alphabet"
        await pilot.press("escape")
        await until(pilot, lambda: pilot.app.screen is screen)
        assert "filter ALPHA dpo" in seen(pilot)
        await pilot.press("escape")
        assert len(names(screen)) == 3
        await pilot.press("slash", *"[/none", "enter")
        assert names(screen) == []
        await pilot.press("enter", "d", "r", "space", "e", "y")
        assert pilot.app.screen is screen
        await pilot.press("escape")
        assert len(names(screen)) == 3


async def test_sorting(folder):
    made = (("b", "mio", 50, "failed"), ("a", "dpo", 400, "done"), ("c", "ipo", 100, "stopped"))
    for name, loss, steps, state in made:
        fakes.make_run(folder, name, loss=loss, steps=steps, state=state)
    with fakes.alive(fakes.make_run(folder, "z", state="training", steps=10)):
        async with listed(folder, rows=4) as (pilot, screen):
            changes = {name: fakes.figures(steps, loss)["delta/chosen"] for name, loss, steps, _ in made}
            orders = {
                "state": ["a", "c", "b"], "name": ["a", "b", "c"], "objective": ["a", "c", "b"],
                "change": sorted(changes, key=changes.__getitem__, reverse=True), "age": ["c", "a", "b"],
            }  # fmt: skip
            await go(pilot, screen, "b")
            for sort, order in orders.items():
                await pilot.press("s")
                assert f"by {sort}" in seen(pilot)
                assert names(screen) == ["z", *order]
                assert screen.highlighted == "b"


async def test_at_most_four_marks_and_compare_opens_them(folder):
    for number in range(6):
        fakes.make_run(folder, f"run-{number}", steps=50)
    async with listed(folder, rows=6) as (pilot, screen):
        order = names(screen)
        for _ in range(5):
            await pilot.press("space", "j")
        assert screen.marked == order[:4]
        assert "4 runs can be compared at once" in seen(pilot)
        assert [("▸" in row(pilot, name)) for name in order] == [True] * 4 + [False] * 2
        await pilot.press("k", "k", "space")
        assert screen.marked == order[:3]
        await pilot.press("c")
        await until(pilot, lambda: isinstance(pilot.app.screen, CompareScreen))
        await until(pilot, lambda: all(name in seen(pilot) for name in order[:3]))
        assert order[3] not in seen(pilot)
        await pilot.press("escape")
        await until(pilot, lambda: pilot.app.screen is screen)
        await pilot.press("escape")
        assert screen.marked == []


async def test_enter_and_a_click_open_the_run(folder):
    fakes.make_run(folder, "first", steps=50)
    fakes.make_run(folder, "second", steps=50)
    async with listed(folder, rows=2) as (pilot, screen):
        await go(pilot, screen, "first")
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(pilot.app.screen, LiveScreen))
        assert pilot.app.screen.watched.run.name == "first"


@pytest.mark.parametrize("damage", [None, "status", "recipe"])
async def test_delete_asks_then_deletes(folder, damage):
    run = fakes.make_run(folder, "gone", steps=50)
    fakes.make_run(folder, "kept", steps=50)
    if damage:
        getattr(run, damage).write_text("{")
    async with listed(folder, rows=2) as (pilot, screen):
        await go(pilot, screen, "gone")
        await pilot.press("d")
        await until(pilot, lambda: isinstance(pilot.app.screen, Ask))
        assert "gone: its settings" in seen(pilot)
        await pilot.press("escape")
        await until(pilot, lambda: pilot.app.screen is screen)
        assert run.exists()
        await pilot.press("d")
        await until(pilot, lambda: isinstance(pilot.app.screen, Ask))
        await pilot.press("d")
        await until(pilot, lambda: names(screen) == ["kept"])
        assert [entry.name for entry in folder.iterdir()] == ["kept"]


async def test_a_large_run_wants_its_name(folder, monkeypatch):
    monkeypatch.setattr("mio_tui.removal.LARGE", 10)
    run = fakes.make_run(folder, "big", steps=50)
    async with listed(folder, rows=1) as (pilot, screen):
        for typed, there in (("bi", True), ("big", False)):
            await pilot.press("d")
            await until(pilot, lambda: "Type the run's name" in seen(pilot))
            await pilot.press(*typed, "enter")
            await until(pilot, lambda: pilot.app.screen is screen)
            await pilot.pause(0.2)
            assert run.exists() == there


async def test_a_living_run_is_not_deleted(folder):
    run = fakes.make_run(folder, "busy", state="training", steps=50)
    async with listed(folder, rows=1) as (pilot, screen):
        with fakes.alive(run):
            await pilot.press("d")
            await until(pilot, lambda: "busy is training: stop it first" in seen(pilot))
            assert pilot.app.screen is screen
        await pilot.press("d")
        await until(pilot, lambda: isinstance(pilot.app.screen, Ask))
        with fakes.alive(run):  # it came to life while the question stood
            await pilot.press("d")
            await pilot.pause(0.3)
            assert run.exists()


async def test_a_run_that_cannot_be_deleted_says_why(folder, monkeypatch):
    run = fakes.make_run(folder, "stuck", steps=50)

    def refuse(run):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("mio_tui.removal.remove", refuse)
    async with listed(folder, rows=1) as (pilot, _):
        await pilot.press("d")
        await until(pilot, lambda: isinstance(pilot.app.screen, Ask))
        await pilot.press("d")
        await until(pilot, lambda: "stuck could not be deleted: Permission denied" in seen(pilot))
        assert run.exists()


async def test_the_empty_state_starts_the_demo(folder, launched):
    async with listed(folder) as (pilot, _):
        await until(pilot, lambda: "No runs yet" in seen(pilot) and "d Demo run" in seen(pilot))
        await pilot.press("space", "c", "r", "s", "slash", "e", "y")
        assert not launched
        assert "No runs yet" in seen(pilot)
        await pilot.press("d")
        await until(pilot, lambda: isinstance(pilot.app.screen, LiveScreen))
        assert launched == [["demo-mio", "demo-dpo"]]
        assert sorted(entry.name for entry in folder.iterdir()) == ["demo-dpo", "demo-mio"]


async def test_the_first_run_that_appears_can_be_opened_at_once(folder):
    async with listed(folder) as (pilot, screen):
        await until(pilot, lambda: "No runs yet" in seen(pilot))
        fakes.make_run(folder, "new", steps=50)
        await until(pilot, lambda: names(screen) == ["new"], 3)
        fakes.make_run(folder, "newer", steps=50)
        await until(pilot, lambda: set(names(screen)) == {"new", "newer"}, 3)
        assert screen.highlighted == "new"  # the cursor stays on its run
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(pilot.app.screen, LiveScreen))
        assert pilot.app.screen.watched.run.name == "new"


async def test_the_keys_of_an_empty_list_that_got_a_run(folder):
    async with listed(folder) as (pilot, screen):
        run = fakes.make_run(folder, "new", steps=50)
        await until(pilot, lambda: names(screen) == ["new"], 3)
        await until(pilot, lambda: "d Delete" in seen(pilot))
        await pilot.press("d")
        await until(pilot, lambda: isinstance(pilot.app.screen, Ask))
        await pilot.press("d")
        await until(pilot, lambda: "No runs yet" in seen(pilot))
        assert not run.exists()
        assert "d Demo run" in seen(pilot)


async def test_resume(folder, launched):
    paused = fakes.make_run(folder, "waits", state="paused", steps=50)
    fakes.make_run(folder, "halted", state="stopped", steps=50)
    fakes.make_run(folder, "ended", state="done", steps=50)
    with fakes.alive(paused):
        async with listed(folder, rows=3) as (pilot, screen):
            await go(pilot, screen, "ended")
            await pilot.press("r")
            await until(pilot, lambda: "ended is done: nothing to resume" in seen(pilot))
            assert pilot.app.screen is screen
            for name in ("waits", "halted"):
                await go(pilot, screen, name)
                await pilot.press("r")
                await until(pilot, lambda: isinstance(pilot.app.screen, LiveScreen))
                assert pilot.app.screen.watched.run.name == name
                await pilot.press("escape")
                await until(pilot, lambda: pilot.app.screen is screen)
            assert fakes.requests(paused) == ["resume"]
            assert launched == [["halted"]]


async def test_a_run_whose_trainer_dies_is_soon_lost(folder):
    run = fakes.make_run(folder, "brief", state="training", steps=50)
    fakes.make_run(folder, "other", steps=50)
    with contextlib.ExitStack() as stack:
        stack.enter_context(fakes.alive(run))
        async with listed(folder, rows=2) as (pilot, screen):
            assert "●" in row(pilot, "brief")
            stack.close()
            await until(pilot, lambda: "?" in row(pilot, "brief"), 3)
            assert screen.state(run) == "lost"


@pytest.mark.parametrize("size", [(80, 24), (140, 45)])
async def test_hostile_words_are_only_words(folder, size, launched):
    for index, words in enumerate(HOSTILE):
        run = fakes.make_run(folder, f"run-{index}", state="failed", steps=50, reason=words)
        fakes.set_status(run, model=words, loss_name=words, data=words, step=words, state="failed")
    for name in ("[red]", "\x1b[31mred", "[b]", "🦜", "\u202eمرحبا"):
        fakes.make_run(folder, name, steps=50)
    async with listed(folder, size, len(HOSTILE) + 5) as (pilot, screen):
        await pilot.press(*["down"] * 12, "y")
        await go(pilot, screen, "\x1b[31mred")
        await pilot.press("y", "r")
        await until(pilot, lambda: "is done:" in seen(pilot))  # the rest may be on the next line
        await pilot.press("space", "d")
        await until(pilot, lambda: isinstance(pilot.app.screen, Ask))
        assert "\\u{1b}[31mred: its settings" in seen(pilot)
        await pilot.press("escape")
        assert "[red]" in row(pilot, "[red] ")
        control = [letter for letter in seen(pilot) if not letter.isprintable() and letter != "\n"]
        assert control == []


@pytest.mark.parametrize("size", [(80, 24), (140, 45)])
async def test_status_files_that_hold_anything(folder, size):
    for index, held in enumerate(BROKEN):
        run = fakes.make_run(folder, f"run-{index:02}", steps=50)
        run.status.write_text(json.dumps(held))
    deep = fakes.make_run(folder, "deep", steps=50)
    deep.status.write_text("[" * 200_000)
    bytes_ = fakes.make_run(folder, "bytes", steps=50)
    bytes_.status.write_bytes(b"\xff\xfe\x00")
    place = fakes.make_run(folder, "place", steps=50)
    place.status.unlink()
    place.status.mkdir()
    locked = fakes.make_run(folder, "locked", state="training", steps=50)
    locked.lock.mkdir()
    async with listed(folder, size, len(BROKEN) + 4) as (pilot, screen):
        for name in names(screen):
            assert row(pilot, name)
        for name in ("deep", "bytes", "place", "locked", "run-03", "run-04"):
            assert "✗" in row(pilot, name)
        assert max(column.get_render_width(screen.table) for column in screen.table.columns.values()) <= 30
        for sort in range(5):
            await pilot.press("s")
            assert len(names(screen)) == len(BROKEN) + 4, sort
        await go(pilot, screen, "locked")
        await pilot.press("d")
        await until(pilot, lambda: "locked could not be deleted" in seen(pilot))


@pytest.mark.parametrize("answer", ["k", "s", "escape"])
async def test_the_quit_question(folder, answer):
    run = fakes.make_run(folder, "busy", state="training", steps=50)
    fakes.make_run(folder, "other", steps=50)
    with fakes.alive(run):
        async with listed(folder, rows=2) as (pilot, screen):
            await pilot.press("q")
            await until(pilot, lambda: isinstance(pilot.app.screen, Ask))
            assert "busy is still training" in seen(pilot)
            await pilot.press("ctrl+q")  # asking twice is asking once
            assert len(pilot.app.screen_stack) == 3
            await pilot.press(answer)
            if answer == "escape":
                await until(pilot, lambda: pilot.app.screen is screen)
                assert pilot.app.is_running
            await pilot.pause(0.1)
        said = pilot.app.return_value
        if answer == "k":
            assert "busy keeps training" in said
            assert "mio-local stop busy" in said
        if answer == "s":
            assert "mio-local resume busy" in said
        if answer == "escape":
            assert said is None
        assert fakes.requests(run) == (["stop"] if answer == "s" else [])


async def test_nothing_trains_nothing_is_asked(folder):
    fakes.make_run(folder, "other", steps=50)
    async with listed(folder, rows=1) as (pilot, _):
        await pilot.press("q")
    assert pilot.app.return_value == ""


@pytest.mark.parametrize("filled", [True, False])
async def test_every_size_draws(folder, filled):
    if filled:
        for number in range(30):
            fakes.make_run(folder, f"run-{number}", steps=50)
    async with listed(folder) as (pilot, screen):
        for size in ((20, 5), (59, 16), (60, 15), (60, 16), (80, 24), (109, 40), (110, 32), (200, 20), (250, 80)):
            await pilot.resize_terminal(*size)
            await pilot.pause(0.1)
            small = size[0] < 60 or size[1] < 16
            assert ("too small" in seen(pilot)) == small
            assert ("mio-local   runs" in seen(pilot)) == (not small)
            assert len(looks.screen_text(pilot.app)) == size[1]
        assert pilot.app.screen is screen


async def test_the_cursor_stays_through_narrow_and_wide(folder):
    for number in range(8):
        fakes.make_run(folder, f"run-{number}", steps=50)
    async with listed(folder, (80, 24), 8) as (pilot, screen):
        await pilot.press("down", "down", "down", "space")
        here = screen.highlighted
        for size in ((140, 45), (80, 24), (20, 5), (140, 45)):
            await pilot.resize_terminal(*size)
            await pilot.pause(0.2)
            assert screen.highlighted == here
            assert screen.marked == [here]
        await until(pilot, lambda: f"✓ done  {here}" in seen(pilot))


async def test_the_ages_are_those_of_the_clock(folder, monkeypatch):
    monkeypatch.setattr(text, "now", lambda: fakes.NOW + 7200 - 60)
    fakes.make_run(folder, "old", steps=50)
    async with listed(folder, (140, 45), 1) as (pilot, _):
        assert "2 h ago" in row(pilot, "old")
