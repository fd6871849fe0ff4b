"""What the digests cost: their share of a short run of a 27M model that saves every second step, and of opening it.

    python tests/bench/digests.py mlx

A run of six steps of four GSM8K pairs of ../shared is trained as the command line does it; the time inside what writes
and verifies digests is summed.
"""

import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path[:0] = [str(Path(__file__).parents[2] / folder) for folder in ("tui", "backends", ".")]

from mio_local.recipe import build  # noqa: E402
from mio_local.runs.directory import Run  # noqa: E402
from mio_local.runs.events import EventWriter  # noqa: E402
from mio_local.training import checkpoint, reference  # noqa: E402
from mio_local.training.loop import train  # noqa: E402
from mio_local.training.prepare import start  # noqa: E402
from tests.bench.speed import make_model  # noqa: E402

PAIRS = Path(__file__).resolve().parents[3] / "shared/data/gsm8k/train.jsonl"
PARTS = ((checkpoint, "seal_folder"), (checkpoint, "fault_of"), (checkpoint, "begins_with"), (reference, "_checks"),
         (EventWriter, "mark"))  # fmt: skip
spent: dict[str, float] = {}


def timed(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    def call(*given: Any, **named: Any) -> Any:
        began = time.perf_counter()
        try:
            return function(*given, **named)
        finally:
            spent[name] = spent.get(name, 0.0) + time.perf_counter() - began

    return call


def main() -> None:
    """Print both shares."""
    for owner, name in PARTS:
        setattr(owner, name, timed(name, getattr(owner, name)))
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        recipe = build({
            "model": {"name": str(make_model("27m", folder))}, "data": {"source": str(PAIRS), "max_tokens": 512},
            "lora": {"rank": 8, "alpha": 16}, "train": {"steps": 6, "batch_size": 4, "save_every": 2},
            "eval": {"every": 0, "pairs": 4, "sample_tokens": 0}, "backend": {"name": sys.argv[1], "device": "cpu"},
        }, "bench")  # fmt: skip
        began = time.perf_counter()
        list(train(start(recipe, folder / "runs", "run")))
        whole, digests = time.perf_counter() - began, sum(spent.values())
        began = time.perf_counter()
        checkpoint.choose(Run(folder / "runs/run"))
        print(f"{sys.argv[1]}: {1000 * digests:.0f} ms of {whole:.1f} s, {100 * digests / whole:.2f} %; "
              f"a checkpoint verified in {1000 * (time.perf_counter() - began):.0f} ms")  # fmt: skip


if __name__ == "__main__":
    main()
