"""The app with a run's live screen on top, and how the tests look at it."""

import contextlib
import time

from mio_tui.app import MioApp
from mio_tui.screens.live import LiveScreen
from tests import looks


@contextlib.asynccontextmanager
async def opened(run, size=(100, 30), poll=0.05):
    """The app with the run's live screen on top, its files read."""
    app = MioApp(run.path.parent)
    app.poll_seconds = poll
    app.open_run = str(run.path)
    async with app.run_test(size=size) as pilot:
        await until(pilot, lambda: isinstance(app.screen, LiveScreen) and app.screen.was_read)
        yield pilot, app.screen


async def until(pilot, truth, seconds=5.0):
    """Wait for something to become true."""
    end = time.monotonic() + seconds
    while not truth():
        assert time.monotonic() < end, "\n".join(looks.screen_text(pilot.app))
        await pilot.pause(0.02)


def seen(pilot):
    return "\n".join(looks.screen_text(pilot.app))


def shown(screen, index=0):
    """The curves of a chart by name."""
    return {curve.name: curve for curve in screen.panels.charts[index]._curves}
