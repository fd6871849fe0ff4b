"""Two ranks with one core each against one with one core, and what links of given speeds would leave of more devices.

    python tests/bench/devices/several.py ranks BACKEND [ROUNDS] [BATCH]    # 27m, random pairs; Linux
    python tests/bench/devices/several.py links                             # 8B, rank 16: counted, nothing is trained

`ranks` lets the two take turns and prints each round. `links` counts what passes in a step: the adapter's gradient by a
ring, and rank 0's questions with each rank's part of the batch, one rank after the other. Each device has PAIRS pairs a
step; its own time is the FLOP that the mathematics needs at RATE, which is an assumption and no measurement.
"""

import os
import pickle
import statistics
import sys
import tempfile
from collections.abc import Generator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
sys.path[:0] = [str(ROOT), str(ROOT / "backends")]
from mio_local.bench.measure import needed  # noqa: E402
from mio_local.bench.scaling import Between, ring_seconds, speedup  # noqa: E402
from mio_local.bench.trial import Result, Trial, run  # noqa: E402
from mio_local.commands.bench import groups_of  # noqa: E402
from mio_local.data.collate import collate  # noqa: E402
from mio_local.data.examples import Example  # noqa: E402
from mio_local.models.shapes import Shape  # noqa: E402
from mio_local.recipe import build  # noqa: E402
from tests.bench.speed import make_model, pairs  # noqa: E402
from tests.gpu.random_model import SHAPES  # noqa: E402

TIMES = 5  # steps that are counted
LENGTHS = {"prompt": 100, "answer": 100}  # tokens of random pairs
PAIRS, PROMPT, ANSWER = 8, 180, 300  # of a device in a step, and their tokens
RATE = 200e12  # FLOP per second: about half of what a data-centre GPU does in bfloat16
LINKS = {1: 1e-4, 10: 3e-5, 100: 5e-6}  # Gb/s, and the seconds that a message takes at least


def ended(running: Generator[tuple[int, int], None, Result | str]) -> Result:
    """What a trial found. Raises SystemExit where it failed."""
    while True:
        try:
            next(running)
        except StopIteration as end:
            if isinstance(end.value, str):
                raise SystemExit(end.value) from None
            return end.value


def ranks(backend: str, rounds: int = 3, batch: int = 4) -> None:
    """Pairs per second, the reference known."""
    cores = sorted(os.sched_getaffinity(0))

    def measured(folder: Path, devices: int) -> Result:
        tables = {"backend": {"name": backend, "device": "cpu", "devices": devices}, "train": {"batch_size": batch},
                  "lora": {"rank": 8}, "model": {"name": "M"}, "data": {"source": "D"}}  # fmt: skip
        recipe = build(tables, "bench")
        trial = Trial(recipe, folder, groups_of(pairs(folder, 32000, (TIMES + 2) * batch, LENGTHS), recipe, TIMES), 0)
        os.sched_setaffinity(0, cores[:devices])
        try:
            return ended(run(trial))
        finally:
            os.sched_setaffinity(0, cores)

    print("round  one, pairs/s    two  two/one  between, ms a step  of a step  sum, ms  question, ms")
    with tempfile.TemporaryDirectory() as place:
        folder = make_model("27m", Path(place))
        found: list[float] = []
        for number in range(rounds):
            one, two = (measured(folder, devices) for devices in (1, 2))
            between = two.between or Between(2, 0, 0, 0, 0)
            found.append(two.pairs / one.pairs)
            print(f"{number + 1:5} {one.pairs:13.2f} {two.pairs:6.2f} {found[-1]:8.2f} "
                  f"{1e3 * between.seconds:19.2f} {between.seconds * two.pairs / batch:10.2%} "
                  f"{1e3 * between.sum:8.2f} {1e3 * between.question:13.3f}", flush=True)  # fmt: skip
        print(f"median {statistics.median(found):.2f}")


def links() -> None:
    """What a step of 2, 8 and 64 devices would take."""
    width, inner, blocks, heads, keys, head, vocabulary = SHAPES["8B"]
    shape = Shape(vocabulary, width, blocks, heads, keys, head, inner, 1, 1, False, 0, 0, "bfloat16", 0)
    lora = build({"lora": {"rank": 16}}, "bench").lora
    size = 4 * lora.rank * blocks * sum(map(sum, shape.linears.values()))
    examples = [Example([1] * PROMPT, [1] * ANSWER, [1] * ANSWER, False, False, False, "") for _ in range(PAIRS)]
    alone = needed(shape, lora, examples) / RATE
    part = len(pickle.dumps(collate(examples, range(PAIRS), 0, shared=True)))
    print(f"8B, rank {lora.rank}: {size / 1e6:.0f} MB of gradient; a device's {PAIRS} pairs are {part / 1e3:.0f} kB of "
          f"batch, and {alone:.2f} s of work at {RATE / 1e12:.0f} TFLOP/s")  # fmt: skip
    print("Gb/s  devices  sum, s  questions, s  of a step  times one device")
    for gigabits, latency in LINKS.items():
        for devices in (2, 8, 64):
            rate = gigabits * 1e9 / 8
            summed = ring_seconds(size, devices, rate, latency)
            asked = (devices - 1) * (part / rate + 3 * 2 * latency)
            share = (summed + asked) / (alone + summed + asked)
            times = speedup(devices * alone, devices, summed + asked)
            print(f"{gigabits:4} {devices:8} {summed:7.3f} {asked:13.4f} {share:10.1%} {times:17.1f}")


if __name__ == "__main__":
    if sys.argv[1:2] == ["links"]:
        links()
    elif sys.argv[1:2] == ["ranks"]:
        ranks(sys.argv[2], *map(int, sys.argv[3:5]))
    else:
        sys.exit(__doc__)
