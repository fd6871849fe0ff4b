"""The app with a run's live screen on top, and how the tests look at it."""

import contextlib

import pytest

from mio_tui.app import MioApp
from mio_tui.screens.live import LiveScreen
from tests.helpers import fakes
from tests.helpers.tui.screens import until


@pytest.fixture
def training(tmp_path):
    """A run that trains, at step 412 of 1000."""
    with fakes.alive(fakes.make_run(tmp_path, "mio-run", state="training", steps=412)) as run:
        yield run


@contextlib.asynccontextmanager
async def opened(run, size=(100, 30), poll=0.05):
    """The app with the run's live screen on top, its files read."""
    app = MioApp(run.path.parent)
    app.poll_seconds = poll
    app.open_run = str(run.path)
    async with app.run_test(size=size) as pilot:
        await until(pilot, lambda: isinstance(app.screen, LiveScreen) and app.screen.was_read)
        yield pilot, app.screen


def shown(screen, index=0):
    """The curves of a chart by name."""
    return {curve.name: curve for curve in screen.panels.charts[index].curves}
