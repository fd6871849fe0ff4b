"""What all tests of the app share."""

import pytest
from textual._compositor import Compositor
from textual._context import visible_screen_stack


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
