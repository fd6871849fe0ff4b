"""What all tests of the app share."""

import asyncio
import time

import pytest
from textual import app as textual_app
from textual import pilot as textual_pilot
from textual._compositor import Compositor
from textual._context import active_app, visible_screen_stack

GRAIN = 0.004  # seconds


@pytest.fixture(autouse=True)
def undrawn(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """A headless app draws for nobody, which takes a third of a test's time: what a test looks at (`screens.seen`) is
    drawn when it looks. The tests of looks draw all, and `test_terminal` into a real terminal."""
    if request.path.name == "test_looks.py":
        return

    def update(compositor, full=False, screen_stack=None, simplify=False):
        visible_screen_stack.set(screen_stack or [])
        compositor._dirty_regions.clear()

    monkeypatch.setattr(Compositor, "render_update", update)


@pytest.fixture(autouse=True)
def soon_idle(monkeypatch: pytest.MonkeyPatch) -> None:
    """Textual's pilot takes the app for idle after 20 ms of nearly no work, twice for each key. Here a grain of such
    rest is enough, where the event loop has nothing to do; what the screen would lay out at its tick is laid out."""

    async def idle(min_sleep: float = 0.0, max_sleep: float = 1.0) -> None:
        loop, end = asyncio.get_running_loop(), time.monotonic() + max_sleep
        while time.monotonic() < end:
            worked = time.process_time()
            await asyncio.sleep(GRAIN)
            if not loop._ready and time.process_time() - worked < GRAIN / 4:
                break
        app = active_app.get()
        if app.screen_stack:
            app.screen._on_timer_update()

    for module in (textual_app, textual_pilot):
        monkeypatch.setattr(module, "wait_for_idle", idle)
