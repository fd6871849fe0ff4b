"""How soon a long run is on the screen: from opening it to the first points drawn, and to all of them.

    python tests/bench/opening.py --events 50000 --size 140x45 --times 3

The app runs without a terminal; a run of `tests/helpers/fakes.py` is written to a temporary folder. `longest` is
the longest that the event loop, and with it every key, had to wait meanwhile.
"""

import argparse
import asyncio
import sys
import tempfile
import time
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parents[2] / folder) for folder in ("tui", "backends", ".")]

from mio_tui import watched  # noqa: E402
from mio_tui.app import MioApp  # noqa: E402
from mio_tui.screens.live import LiveScreen  # noqa: E402
from tests.helpers import fakes  # noqa: E402


async def beat(gaps):
    """Note how late the event loop comes back."""
    while True:
        began = time.perf_counter()
        await asyncio.sleep(0.02)
        gaps.append(time.perf_counter() - began - 0.02)


def points(app):
    """How many points of the first chart's training curve are drawn."""
    if not (isinstance(app.screen, LiveScreen) and app.screen.was_read):
        return 0
    curves = {curve.name: curve for curve in app.screen.panels.charts[0].curves}
    return curves["chosen train"].x.size if "chosen train" in curves else 0


async def opening(run, steps, size):
    """(seconds to the first points, seconds to all, longest wait in seconds)."""
    watched._readers.clear()  # else what the last opening read would be there
    app, gaps, first = MioApp(run.path / "no runs"), [0.0], 0.0
    async with app.run_test(size=size) as pilot:
        await pilot.pause(0.3)
        beating = asyncio.create_task(beat(gaps))
        began = time.perf_counter()
        app.show_run(run)
        while (drawn := points(app)) < steps:
            first = first or (time.perf_counter() - began if drawn else 0.0)
            await asyncio.sleep(0.02)
        whole = time.perf_counter() - began
        beating.cancel()
    return first or whole, whole, max(gaps)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=50_000)
    parser.add_argument("--size", default="140x45")
    parser.add_argument("--times", type=int, default=3)
    wanted = parser.parse_args()
    columns, rows = map(int, wanted.size.split("x"))
    steps = round(wanted.events / 1.03)  # the rest are evaluations, samples and checkpoints
    with tempfile.TemporaryDirectory() as folder:
        stream = list(fakes.events(steps, total=steps, every=100))
        run = fakes.make_run(Path(folder), "long", state="training", steps=steps, total=steps, stream=stream)
        print(f"{len(stream):,} events, {run.events.stat().st_size / 1e6:.0f} MB")
        del stream  # the app has no other events in memory that the garbage collector would look through
        with fakes.alive(run):
            for _ in range(wanted.times):
                first, whole, longest = asyncio.run(opening(run, steps, (columns, rows)))
                print(f"first points {first:.2f} s  all {whole:.2f} s  longest wait of a key {longest:.2f} s")


if __name__ == "__main__":
    main()
