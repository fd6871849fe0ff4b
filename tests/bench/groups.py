"""Seconds of a step for a prompt with n answers: as a group, as n - 1 pairs, and as n rows without the shared prompt.

    python tests/bench/groups.py BACKEND [N] [PROMPT]    # 27m, answers of 64 tokens, a prompt of 256; needs ../shared

The three take turns in one process, all other savings on. CPU seconds are those of all threads: on a machine that is
busy with other things they say more than the clock's.
"""

import os
import statistics
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "backends")]
ANSWER, ROUNDS = 64, 2  # the first round is not counted


def measure(backend: str, folder: Path, answers: int, prompt: int) -> dict[str, tuple[float, float]]:
    """By way, CPU seconds and seconds of a step over one prompt; the reference is known before."""
    from mio_local.adapters.adapter import choose_layers, draw_adapter
    from mio_local.data.collate import collate
    from mio_local.objectives.losses import objective
    from mio_local.recipe import SpeedSettings, build
    from tests.bench.speed import pairs

    if backend == "mlx":
        from mio_mlx import MlxBackend as Backend
    else:
        from mio_cuda import CudaBackend as Backend
    recipe = build({"lora": {"rank": 8, "alpha": 16}}, "bench")
    model = Backend().load(folder, recipe.model, "cpu", grad_checkpoint=False, seed=0)
    slots = model.add_lora(recipe.lora, recipe.train, choose_layers(model.linear_layers(), recipe.lora))
    model.set_adapter(draw_adapter(slots, 0))
    shared = SpeedSettings()
    shared = shared.without(model.use(shared))
    lengths = {"prompt": prompt, "answer": ANSWER}
    group = pairs(folder, 32000, 1, {**lengths, "answers": answers})
    ways = {
        "group": (group, shared), "pairs": (pairs(folder, 32000, answers - 1, lengths), shared),
        "rows": (group, shared.without(["share_prompt"])),
    }  # fmt: skip
    found: dict[str, list[tuple[float, float]]] = {way: [] for way in ways}
    for _ in range(ROUNDS):
        for way, (examples, speed) in ways.items():
            model.use(speed)
            batch = collate(examples, range(len(examples)), 0, shared=speed.share_prompt)
            reference = model.logps(batch, reference=True)
            began, processed = time.perf_counter(), time.process_time()
            model.accumulate(batch, reference, objective("mio", 0.1, "sum"), 1.0)
            model.apply(1e-5)
            found[way].append((time.process_time() - processed, time.perf_counter() - began))
    return {
        way: (statistics.median(cpu for cpu, _ in took[1:]), statistics.median(clock for _, clock in took[1:]))
        for way, took in found.items()
    }  # fmt: skip


def main() -> None:
    """One line."""
    from tests.bench.speed import make_model

    backend, *given = sys.argv[1:]
    answers, prompt = [*map(int, given), *(4, 256)[len(given) :]]
    with tempfile.TemporaryDirectory() as place:
        found = measure(backend, make_model("27m", Path(os.environ.get("MIO_BENCH_MODELS", place))), answers, prompt)
    for kind, name in enumerate(("CPU s", "seconds")):
        group, pairs, rows = (found[way][kind] for way in ("group", "pairs", "rows"))
        print(f"{backend} n {answers} prompt {prompt} {name}: group {group:.2f}, pairs {pairs:.2f}, rows {rows:.2f}; "
              f"pairs/group {pairs / group:.2f}, rows/group {rows / group:.2f}", flush=True)


if __name__ == "__main__":
    main()
