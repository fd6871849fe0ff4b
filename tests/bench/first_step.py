"""Seconds and CPU seconds of `mio-local train` until its first step begins, after each of what comes before it.

    python tests/bench/first_step.py MODEL PAIRS.jsonl BACKEND

The first held-out evaluation is among it. For a warm cache, run it twice; `rows` of tokenising.py makes the pairs.
"""

import os
import resource
import sys
import tempfile
import time
from collections.abc import Generator
from contextlib import contextmanager

from mio_local.cli import main
from mio_local.progress import Report

BEGAN = time.perf_counter()
HEARD: list[str] = []


def mark(what: str) -> None:
    used = resource.getrusage(resource.RUSAGE_SELF)
    print(f"{time.perf_counter() - BEGAN:6.2f} {used.ru_utime + used.ru_stime:6.2f} {what}", flush=True)


@contextmanager
def preparing(out: object) -> Generator[Report]:
    def report(what: str, done: int, total: int) -> None:
        if what not in HEARD:
            HEARD.append(what)
            mark(what)

    yield report


def first_step(*taken: object) -> None:
    mark("the first step")
    os._exit(0)


if __name__ == "__main__":
    from mio_local import printing
    from mio_local.training import loop

    printing.preparing = preparing
    loop.take_step = first_step  # pyright: ignore[reportAttributeAccessIssue]
    model, pairs, backend = sys.argv[1:]
    os.environ["MIO_LOCAL_PRELOAD"] = "0"
    with tempfile.TemporaryDirectory() as runs:
        sys.argv[1:] = ["train", "--model", model, "--data", pairs, "--backend", backend, "--device", "cpu"]
        sys.argv += ["--set", "eval.sample_tokens=0", "--runs", runs]
        main()
