"""Draws the README's pictures of the app from real runs: python .github/screenshots.py RUNS_FOLDER MODEL DATA

RUNS_FOLDER holds the demo's two finished runs, demo-mio and demo-dpo (mio-local --runs RUNS_FOLDER demo).
"""

import asyncio
import sys
from pathlib import Path

from textual.pilot import Pilot
from textual.widgets import Input

from mio_local.chat.start import ChatStart
from mio_local.runs.directory import Run
from mio_tui.app import MioApp
from mio_tui.new.screen import NewRunScreen
from mio_tui.screens.chat import ChatScreen
from mio_tui.screens.compare import CompareScreen
from mio_tui.screens.live import LiveScreen

HERE = Path(__file__).parent
SIZE = (132, 38)
QUESTION = "Ada bakes 8 trays of 2 rolls, eats 3 and sells 7. How many rolls are left?"


async def ask(screen: ChatScreen, pilot: Pilot[None]) -> None:
    """Put the question, and keep the answers as a pair."""
    while not screen.ready:
        await pilot.pause(0.2)
    screen.query_one("#ask", Input).value = QUESTION
    await pilot.press("enter")
    await pilot.pause(1)
    while screen.busy:
        await pilot.pause(0.2)
    await pilot.press("f4")
    await pilot.pause(1)


async def draw(folder: Path, model: str, data: str) -> None:
    """One SVG for each screen."""
    app = MioApp(folder)
    mio, dpo = Run(folder / "demo-mio"), Run(folder / "demo-dpo")
    async with app.run_test(size=SIZE) as pilot:
        for name, screen in (
            ("runs", None),
            ("live", LiveScreen(mio)),
            ("compare", CompareScreen([mio, dpo])),
            ("new-run", NewRunScreen({"model": {"name": model}, "data": {"source": data, "max_tokens": 128}})),
            ("chat", ChatScreen(ChatStart(["demo-mio"]))),
        ):
            if screen is not None:
                app.push_screen(screen)
            await pilot.pause(1.5)
            if isinstance(screen, NewRunScreen):
                await pilot.press("f3")
                while not (screen.state.needs and screen.state.lasting and screen.state.data.summary):
                    await pilot.pause(0.2)
                await pilot.pause(1)
            if isinstance(screen, ChatScreen):
                await ask(screen, pilot)
            (HERE / f"{name}.svg").write_text(app.export_screenshot(title="mio-local"), encoding="utf-8")
            if screen is not None:
                app.pop_screen()
                await pilot.pause(0.3)


asyncio.run(draw(Path(sys.argv[1]), *sys.argv[2:]))
