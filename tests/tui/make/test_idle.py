"""Pages on which pairs are made and reviewed send nothing to the terminal while nothing happens."""

import time

import pytest

from tests.helpers.tui.make_pages import pair, write_pairs
from tests.helpers.tui.pseudo_terminal import PtyApp


def sent(app, seconds):
    """Bytes that the app writes in that time, once it has been quiet for a while."""
    app.settle(1)
    before, end = app.sent, time.monotonic() + seconds
    while time.monotonic() < end:
        app.read(0.05)
    return app.sent - before


@pytest.mark.slow
def test_a_form_and_a_review_that_are_left_alone_send_nothing(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_pairs(tmp_path / "pairs.jsonl", [pair(0), pair(1)])
    (tmp_path / "pairs.jsonl.work").touch()
    with PtyApp(80, 24, "-m", "mio_local.cli", "--runs", str(tmp_path / "runs")) as app:
        app.wait_for("No runs yet")
        app.settle(0.5)
        app.press("m")
        app.wait_for("out file")
        assert sent(app, 2.5) == 0
        app.press(*["enter"] * 10)  # to the last field
        app.wait_for("made here before")
        app.press("pagedown")
        app.press("enter")
        app.wait_for("1 of 2")
        assert sent(app, 2.5) == 0
        app.press("1")
        app.wait_for("2 of 2")
