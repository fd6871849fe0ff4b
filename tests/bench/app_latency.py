"""How soon the app is there, and how soon a key is: in a pseudo-terminal, from the command to the first screen and from
a key to the changed screen.

    python tests/bench/app_latency.py list --runs 300 --size 80x24 --busy 2
    python tests/bench/app_latency.py list --runs 5000
    python tests/bench/app_latency.py sort settings live panel zoom --busy 2

`--busy` starts that many processes that compute without end, as a run that trains on as many cores; `--folder` takes
runs that are there. Of each scenario: the first screen, the keys' median, 95th percentile and worst, what a key held
down for two seconds leaves to be drawn, and the bytes that the app writes in ten seconds in which nothing happens.
"""

import argparse
import contextlib
import itertools
import json
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

sys.path[:0] = [str(Path(__file__).parents[2] / folder) for folder in ("tui", "backends", ".")]

from mio_local.runs.directory import Run  # noqa: E402
from tests.helpers import fakes  # noqa: E402
from tests.helpers.tui.pseudo_terminal import PtyApp  # noqa: E402

BURN = "while True: pass"
HELD = 30  # keys a second, as a keyboard repeats


class Scenario(NamedTuple):
    """Words of the screen that is measured, the keys that lead to it, and the keys that are timed there, in turn."""

    words: str
    way: tuple[str, ...]
    keys: tuple[str, ...]


SCENARIOS = {
    "list": Scenario("run-", (), ("j",) * 40 + ("k",) * 40),
    "sort": Scenario("run-", (), ("s",)),
    "mark": Scenario("run-", (), (" ",)),
    "live": Scenario("likelihood", ("enter",), ("a",)),
    "panel": Scenario("likelihood", ("enter",), ("tab",)),
    "zoom": Scenario("likelihood", ("enter",), ("z",)),
    "settings": Scenario("Settings", ("n", "f3", "f3"), ("tab",)),
}


def fill(folder: Path, runs: int) -> None:
    """So many runs that are done, each with figures of its own."""
    one = fakes.make_run(folder, "run-0000", steps=100)
    status = json.loads(one.status.read_text(encoding="utf-8"))
    chance = random.Random(0)
    for number in range(1, runs):
        run = Run(folder / f"run-{number:04}")
        shutil.copytree(one.path, run.path)
        change = chance.uniform(-2, 4)
        held = {**status["held_out"], "delta/chosen": change, "rewards/accuracies": chance.random()}
        run.status.write_text(json.dumps({**status, "held_out": held, "time": time.time() - number * 977}))


@contextlib.contextmanager
def busy(processes: int) -> Iterator[None]:
    """With so many processes that compute."""
    burning = [subprocess.Popen([sys.executable, "-c", BURN]) for _ in range(processes)]
    try:
        yield
    finally:
        for process in burning:
            process.kill()
            process.wait()


def milliseconds(taken: list[float]) -> str:
    """Median, 95th percentile and worst."""
    ranked = sorted(taken)
    return (f"median {statistics.median(ranked) * 1e3:.0f} ms, p95 {ranked[int(len(ranked) * 0.95)] * 1e3:.0f}, "
            f"worst {ranked[-1] * 1e3:.0f}")  # fmt: skip


def measure(scenario: Scenario, folder: Path, size: tuple[int, int], wanted: argparse.Namespace) -> Iterator[str]:
    """What was found, a line each."""
    command = ("-m", "mio_local.cli", "--runs", str(folder))
    paints, spent = list[float](), list[float]()
    for _ in range(wanted.paints):
        with PtyApp(*size, *command) as app:
            paints.append(app.wait_for("run-") - app.began)
        spent.append(app.cpu)
    if paints:
        ends = f"best {min(paints):.2f}, worst {max(paints):.2f}, of {len(paints)}; least CPU {min(spent):.2f}"
        yield f"first screen: median {statistics.median(paints):.2f} s, {ends}"
    chance = random.Random(0)
    with PtyApp(*size, *command) as app:
        app.wait_for("run-")
        app.settle(0.5)
        for key in scenario.way:
            app.press(key)
            app.settle(0.5)
        app.wait_for(scenario.words)
        app.settle(1)
        taken: list[float] = []
        for key in itertools.islice(itertools.cycle(scenario.keys), wanted.keys):
            taken.append(app.answer(key))
            app.settle(chance.uniform(0.05, 0.25))
        yield f"a key: {milliseconds(taken)}, of {len(taken)}"
        if wanted.held:
            began = time.monotonic()
            for number in range(2 * HELD):
                app.press(scenario.keys[0])
                while (left := began + (number + 1) / HELD - time.monotonic()) > 0:
                    app.read(left)
            last = time.monotonic()
            while app.read(0.3):
                last = time.monotonic()
            yield f"held for 2 s: drawn {(last - began - 2) * 1e3:.0f} ms after the last"
        if wanted.idle:
            app.settle(2)
            before, end = app.sent, time.monotonic() + wanted.idle
            while (left := end - time.monotonic()) > 0:
                app.read(left)
            yield f"idle: {app.sent - before} bytes in {wanted.idle:g} s"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("scenarios", nargs="+", choices=SCENARIOS)
    parser.add_argument("--runs", type=int, default=300)
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--size", default="80x24")
    parser.add_argument("--busy", type=int, default=0)
    parser.add_argument("--paints", type=int, default=5)
    parser.add_argument("--keys", type=int, default=100)
    parser.add_argument("--held", action="store_true")
    parser.add_argument("--idle", type=float, default=0, metavar="SECONDS")
    wanted = parser.parse_args()
    columns, rows = map(int, wanted.size.split("x"))
    with tempfile.TemporaryDirectory() as made, busy(wanted.busy):
        folder = wanted.folder or Path(made) / "runs"
        if not folder.exists():
            fill(folder, wanted.runs)
        for name in wanted.scenarios:
            for line in measure(SCENARIOS[name], folder, (columns, rows), wanted):
                print(f"{name} {wanted.size}, busy {wanted.busy}: {line}", flush=True)


if __name__ == "__main__":
    main()
