"""A screen as text that can be kept beside the tests and read in a diff: its characters, then their styles."""

import asyncio
import string
import time
from collections.abc import Callable
from typing import Any

from rich.style import Style
from syrupy.extensions.single_file import SingleFileSnapshotExtension, WriteMode
from textual.app import App
from textual.pilot import Pilot

LETTERS = string.ascii_letters + string.digits


class Looks(SingleFileSnapshotExtension):
    """One text file for each look."""

    _write_mode = WriteMode.TEXT
    file_extension = "txt"

    def serialize(self, data: Any, **options: Any) -> str:
        return str(data)


def screen_text(app: App[Any]) -> list[str]:
    """The rows of the screen as they are drawn, without trailing spaces."""
    return ["".join(segment.text for segment in strip).rstrip() for strip in _strips(app)]


def seen(pilot: Pilot[Any]) -> str:
    """All that stands on the screen."""
    return "\n".join(screen_text(pilot.app))


async def until(pilot: Pilot[Any], truth: Callable[[], object], seconds: float = 30.0) -> None:
    """Wait for something to become true; AssertionError with the screen where it does not."""
    end = time.monotonic() + seconds
    while not truth():
        assert time.monotonic() < end, seen(pilot)
        await asyncio.sleep(0.01)  # where the pilot's own pause would send a message to each widget
        pilot.app.screen._on_timer_update()


def look(app: App[Any]) -> str:
    """The screen's rows; then, for each row, its runs of equal style as letters; then what the letters mean."""
    names: dict[str, str] = {}
    styled: list[str] = []
    for strip in _strips(app):
        row = ""
        for segment in strip:
            key = _style(segment.style)
            letter = names.setdefault(key, LETTERS[len(names) % len(LETTERS)])
            row += letter * len(segment.text)
        styled.append(row)
    legend = [f"{letter} {key}" for key, letter in names.items()]
    return "\n".join([*screen_text(app), "", *styled, "", *legend]) + "\n"


def _strips(app: App[Any]) -> list[Any]:
    return app.screen._compositor.render_strips()


def _style(style: Style | None) -> str:
    if style is None:
        return "none"
    plain = style.without_color.clear_meta_and_links()
    colours = [colour.name if colour else "default" for colour in (style.color, style.bgcolor)]
    return " ".join((*colours, str(plain))).strip()
