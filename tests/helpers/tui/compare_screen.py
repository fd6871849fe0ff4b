"""Driving the Compare screen: open it, press keys, wait until it has drawn, read it."""

import time
from pathlib import Path

import numpy as np

from mio_local.runs.directory import Run
from mio_tui.app import MioApp
from mio_tui.compare.comparison import Comparison
from mio_tui.compare.pick import PickRun
from mio_tui.screens.compare import CompareScreen
from tests.helpers import fakes
from tests.helpers.tui.screens import screen_text

WIDE, NARROW = (140, 45), (80, 24)


async def settled(pilot, ready=lambda: True, seconds: float = 8):
    """Until the screen has read and drawn, and `ready`."""
    ends = time.monotonic() + seconds
    while time.monotonic() < ends:
        await pilot.pause(0.05)
        screen = pilot.app.screen
        busy = isinstance(screen, CompareScreen) and (screen.working or screen._stale or screen.exporting)
        if not busy and ready():
            await pilot.pause(0.05)  # what was drawn may still be laid out anew
            return
    raise AssertionError("\n".join(screen_text(pilot.app)))


async def opened(pilot, *runs: Run) -> CompareScreen:
    """The comparison of these runs, drawn."""
    await pilot.pause()
    pilot.app.compare(runs)
    await settled(pilot, lambda: isinstance(pilot.app.screen_stack[-1], CompareScreen | PickRun))
    return next(screen for screen in pilot.app.screen_stack if isinstance(screen, CompareScreen))


async def press(pilot, *keys: str) -> None:
    await pilot.press(*keys)
    await settled(pilot)


def row(app: MioApp, start: str) -> list[str]:
    """The words of the table's row that begins so, without the cursor."""
    found = [text for text in screen_text(app) if text.removeprefix("› ").strip().startswith(start)]
    assert len(found) == 1, found
    return found[0].removeprefix("› ").split()


def curves(screen: CompareScreen, side: int) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    return {curve.name: (curve.x, curve.y) for curve in screen.query_one(Comparison).seen.panels[side].curves}


def pair_in(folder: Path) -> tuple[Run, Run]:
    """MIO for 1000 steps and DPO for 430: the last evaluation of both is at step 400."""
    return fakes.make_run(folder, "one"), fakes.make_run(folder, "two", steps=430, loss="dpo")
