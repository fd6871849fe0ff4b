"""The list of runs, opened in a test, and what its tests share."""

import contextlib
import re

from mio_tui.app import MioApp
from mio_tui.screens.live import LiveScreen
from mio_tui.screens.run_list import RunsScreen
from tests.helpers.tui import screens
from tests.helpers.tui.screens import seen, until

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
        screen = next(screen for screen in app.screen_stack if isinstance(screen, RunsScreen))
        await until(pilot, lambda: screen.rows is not None)
        if isinstance(app.screen, LiveScreen):  # one living run is opened at once
            await pilot.press("escape")
        await until(pilot, lambda: app.screen is screen)
        if rows is not None:
            await until(pilot, lambda: len(screen.table.rows) == rows)
            await pilot.pause(0.1)
        yield pilot, screen


def row(pilot, name):
    """The line of the table that shows this run."""
    found = re.compile(rf" [ ▸][◌●‖✓■✗?]  {re.escape(name)}")
    lines = [line.partition("│")[0] for line in screens.screen_text(pilot.app) if found.match(line)]
    assert lines, seen(pilot)
    return lines[0]


def names(screen):
    """The runs in the order of the table."""
    return screen.table.names


async def go(pilot, screen, name):
    """The cursor onto this run, by keys."""
    await pilot.press("home")
    for _ in range(names(screen).index(name)):
        await pilot.press("down")
    assert screen.table.highlighted == name
