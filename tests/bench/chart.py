"""What one redraw of a chart costs: process CPU time of a whole app in a pseudo-terminal, 10 new points a second.

    python tests/bench/chart.py                     # 4 curves x 5,000 points, 140x45, 10 seconds
    python tests/bench/chart.py --points 50000 --size 80x24 --seconds 5
"""

import argparse
import fcntl
import os
import pty
import selectors
import signal
import struct
import sys
import tempfile
import termios
import time
from pathlib import Path

import numpy as np
from textual.app import App, ComposeResult

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tui"))
from mio_tui.chart import Chart, Curve, Guide

COLORS = ("rejected", "chosen", "b", "a")
RATE = 10


class Bench(App[None]):
    """One chart that fills the terminal; prints into `result` what `seconds` of redraws cost, then exits."""

    def __init__(self, points: int, seconds: float, redraw: bool, result: Path) -> None:
        super().__init__()
        rng = np.random.default_rng(0)
        self.total, self.redraw, self.result = points, redraw, result
        self.frames, self.wanted = 0, round(seconds * RATE)
        self.x = np.arange(self.total + self.wanted + 1, dtype=np.float64)
        share = self.x / self.x[-1]
        self.y = [slope * share + rng.normal(0, 0.05, self.x.size) for slope in (-1.0, 0.2, -0.5, 0.6)]

    def compose(self) -> ComposeResult:
        yield Chart()

    def on_mount(self) -> None:
        self.draw()
        self.set_timer(1.0, self.begin)

    def begin(self) -> None:
        self.result.with_name("began").touch()
        self.cpu, self.clock = time.process_time(), time.monotonic()
        self.set_interval(1 / RATE, self.tick)

    def draw(self) -> None:
        n = self.total + self.frames
        curves = [Curve(c, self.x[:n], y[:n], c, dash=c in "rejected b") for c, y in zip(COLORS, self.y, strict=True)]
        self.query_one(Chart).show(curves, [Guide(0, "start")], x_end=float(self.x[-1]))

    def tick(self) -> None:
        self.frames += 1
        if self.redraw:
            self.draw()
        if self.frames >= self.wanted:
            cpu, clock = time.process_time() - self.cpu, time.monotonic() - self.clock
            self.result.write_text(f"{1000 * cpu / self.frames:.1f} {self.frames / clock:.1f}", encoding="utf-8")
            self.exit()


def measure(points: int, seconds: float, columns: int, rows: int, redraw: bool) -> tuple[float, float, float]:
    """CPU milliseconds per frame, frames per second reached, and kB per frame sent to the terminal."""
    result = Path(tempfile.mkdtemp()) / "result"
    child, terminal = pty.fork()
    if child == 0:
        os.environ |= {"TERM": "xterm-256color", "COLORTERM": "truecolor"}
        time.sleep(0.2)  # until the size is set
        Bench(points, seconds, redraw, result).run()
        os._exit(0)
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
    sent, began = 0, time.monotonic()
    with selectors.DefaultSelector() as waiting:
        waiting.register(terminal, selectors.EVENT_READ)
        while not result.exists():
            if time.monotonic() - began > seconds * 4 + 30:
                os.kill(child, signal.SIGKILL)
                raise SystemExit("the app did not end")
            if waiting.select(timeout=0.5):
                read = len(os.read(terminal, 65536))
                sent += read if result.with_name("began").exists() else 0  # the first screen is no redraw
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    os.close(terminal)
    cpu, rate = map(float, result.read_text(encoding="utf-8").split())
    return cpu, rate, sent / 1000 / (seconds * RATE)


def main() -> None:
    """Print the cost with and without a chart that changes."""
    parser = argparse.ArgumentParser(description="CPU cost of a chart redraw")
    parser.add_argument("--points", type=int, default=5000)
    parser.add_argument("--size", default="140x45")
    parser.add_argument("--seconds", type=float, default=10)
    given = parser.parse_args()
    columns, rows = map(int, given.size.split("x"))
    print(f"4 curves x {given.points} points, {given.size}, {RATE} Hz asked for")
    for redraw in (False, True):
        cpu, rate, sent = measure(given.points, given.seconds, columns, rows, redraw)
        what = "a new point in each curve" if redraw else "nothing to draw"
        print(f"{what}: {cpu:.1f} ms CPU per frame, {rate:.1f} frames/s, {sent:.1f} kB per frame")


if __name__ == "__main__":
    main()
