"""A screen on which nothing happens sends nothing to the terminal, be that at the other end of an ssh connection."""

import contextlib
import time

import pytest

from tests.helpers import fakes
from tests.helpers.tui import fake_rounds
from tests.helpers.tui.pseudo_terminal import PtyApp

WIDE = (140, 45)


def sent(apps, seconds):
    """Bytes that each app writes in that time, once all have been quiet for a while."""
    for app in apps:
        app.settle(1)
    before, end = [app.sent for app in apps], time.monotonic() + seconds
    while time.monotonic() < end:
        for app in apps:
            app.read(0.05)
    return [app.sent - start for app, start in zip(apps, before, strict=True)]


@pytest.mark.slow
@pytest.mark.parametrize("seconds", [2.5, pytest.param(10, marks=pytest.mark.slow)])
def test_a_live_screen_that_is_done_or_paused_sends_nothing(tmp_path, seconds):
    """Over the list of runs, as always; ten looks at the files, or forty, are among the seconds. The one that is done
    is of rounds: their answers stand where a sample does."""
    fakes.make_run(tmp_path / "one", "done", stream=list(fake_rounds.events(400)))
    paused = fakes.make_run(tmp_path / "other", "paused", state="paused", steps=412)
    with contextlib.ExitStack() as held:
        held.enter_context(fakes.alive(paused))
        over_done, over_paused = (
            held.enter_context(PtyApp(*WIDE, "-m", "mio_local.cli", "--runs", str(tmp_path / folder)))
            for folder in ("one", "other")
        )
        over_done.wait_for("runs 1")
        over_done.settle(0.5)
        over_done.press("enter")
        over_done.wait_for("✓ DONE")
        over_paused.wait_for("‖ PAUSED")  # the one that lives is opened by itself
        over_done.wait_for("6 + 7 = 13")
        over_paused.wait_for("BASE")
        assert sent((over_done, over_paused), seconds) == [0, 0]
        for app in (over_done, over_paused):  # and it is not dead
            app.press("z")
            app.wait(lambda app=app: not any("7 system" in row for row in app.grid.lines()))
