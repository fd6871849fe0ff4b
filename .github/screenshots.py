"""Draws the README's pictures of the app from real runs: python .github/screenshots.py RUNS_FOLDER MODEL DATA

RUNS_FOLDER holds the demo's two finished runs, demo-mio and demo-dpo (mio-local --runs RUNS_FOLDER demo).
"""

import asyncio
import sys
from pathlib import Path

from mio_local.runs.directory import Run
from mio_tui.app import MioApp
from mio_tui.new.screen import NewRunScreen
from mio_tui.screens.compare import CompareScreen
from mio_tui.screens.live import LiveScreen

HERE = Path(__file__).parent
SIZE = (132, 38)


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
        ):
            if screen is not None:
                app.push_screen(screen)
            await pilot.pause(1.5)
            if name == "new-run":
                await pilot.press("f3")
                await pilot.pause(15)
            (HERE / f"{name}.svg").write_text(app.export_screenshot(title="mio-local"), encoding="utf-8")
            if screen is not None:
                app.pop_screen()
                await pilot.pause(0.3)


asyncio.run(draw(Path(sys.argv[1]), *sys.argv[2:]))
