"""The memory estimate against the measured peak of real steps, on a CPU.

    python tests/bench/memory.py                         # thirteen configurations of both backends; needs ../shared
    python tests/bench/memory.py BACKEND FOLDER BATCH LENGTH on|off [SECTION.KEY=VALUE|plain|answers=A...]    # one

Each configuration runs in a process of its own: the peak of a process never falls. A step is what the trainer makes it:
reference without gradient, forward, backward, update; two of them, after the savings are compared with the plain path
on pairs half as long, and held-out pairs are scored.
"""

import json
import os
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
# model, batch, length, checkpointing, further settings; `plain` turns the savings of the training step off
CONFIGURATIONS = [
    ("27m", 1, 256, False), ("27m", 4, 256, False), ("27m", 4, 256, True), ("27m", 1, 1024, False),
    ("135m", 1, 256, False), ("135m", 1, 256, True), ("135m", 4, 256, False), ("135m", 4, 256, True),
    ("27m", 4, 256, False, "answers=4"), ("27m", 4, 256, True, "answers=8"),
    ("27m", 4, 256, False, "plain"), ("27m", 1, 1024, True, "plain"), ("135m", 1, 256, False, "plain"),
]  # fmt: skip
STEPS = 2


def measure(
    backend: str, folder: Path, batch: int, length: int, checkpoint: bool, settings: list[str], device: str = "cpu"
) -> dict:
    """Estimate and peak, bytes; prompts and answers of `length` tokens, half of them the prompt's."""
    sys.path[:0] = [str(ROOT), str(ROOT / "backends")]
    import numpy as np

    from mio_local.adapters.adapter import choose_layers, draw_adapter
    from mio_local.data.collate import collate
    from mio_local.data.examples import Example
    from mio_local.memory.estimate import estimate
    from mio_local.models.shapes import read_shape
    from mio_local.objectives.losses import objective_of
    from mio_local.recipe import PLAIN, build
    from mio_local.training.optimizations import settle

    flags = {key: ("", value) for key, value in (setting.split("=", 1) for setting in settings if "." in setting)}
    flags |= {"train.batch_size": ("", batch), "train.grad_checkpoint": ("", checkpoint)}
    recipe = build({"speed": PLAIN.model_dump() if "plain" in settings else {}}, "bench", flags)
    if backend == "mlx":
        from mio_mlx import MlxBackend as Backend
    else:
        from mio_cuda import CudaBackend as Backend
    found = Backend()
    model = found.load(folder, recipe.model, device, grad_checkpoint=checkpoint, seed=0)
    slots = model.add_lora(recipe.lora, recipe.train, choose_layers(model.linear_layers(), recipe.lora))
    model.set_adapter(draw_adapter(slots, 0))
    shape = read_shape(folder)
    rng = np.random.default_rng(0)
    half = length // 2
    held = recipe.eval.batch_size or batch
    answers = next((int(word.removeprefix("answers=")) for word in settings if word.startswith("answers=")), 2)
    whole = half + answers * (length - half)
    ids = rng.integers(0, shape.vocabulary, (held + STEPS * batch, whole)).tolist()
    cut = ([row[:half], *(row[at : at + length - half] for at in range(half, whole, length - half))] for row in ids)
    pairs = [Example(*row[:3], False, False, False, "", others=tuple(row[3:])) for row in cut]
    goal = objective_of(recipe.loss)
    quarter = half // 2
    short = [replace(pair, prompt=pair.prompt[:quarter], chosen=pair.chosen[:quarter], rejected=pair.rejected[:quarter],
                     others=tuple(other[:quarter] for other in pair.others)) for pair in pairs[:2]]  # fmt: skip
    shared = settle(model, recipe.speed, short, 0).speed.share_prompt
    model.logps(collate(pairs, range(held), 0, shared=shared), reference=False)
    for first in range(held, len(pairs), batch):
        rows = collate(pairs, range(first, first + batch), 0, shared=shared)
        model.accumulate(rows, model.logps(rows, reference=True), goal, 1 / batch)
        model.apply(1e-5)
    guess = estimate(shape, recipe, length, backend, found.probe(device).kind, whole, answers)
    return {"estimate": guess.total, "peak": model.memory().peak, "parts": dict(guess.parts)}


def in_process(backend: str, folder: Path, batch: int, length: int, checkpoint: bool, *settings: str) -> dict:
    """`measure` in a new process."""
    sys.path[:0] = [str(ROOT)]
    from mio_local.process import fast_library

    environment = dict(os.environ)
    if backend == "mlx" and (library := fast_library()):
        environment |= {"LD_PRELOAD": library, "OPENBLAS_NUM_THREADS": "1"}
    words = [backend, str(folder), str(batch), str(length), "on" if checkpoint else "off", *settings]
    done = subprocess.run([sys.executable, __file__, *words], capture_output=True, text=True, env=environment)
    if done.returncode != 0:
        raise RuntimeError(done.stderr[-2000:])
    return json.loads(done.stdout.splitlines()[-1])


def make_model(size: str, folder: Path) -> Path:
    """A random Llama of real shape, by the shared script."""
    script = ROOT.parent / "shared" / "models" / "llama-shapes" / "make.py"
    command = [sys.executable, str(script), str(folder / size), "--size", size]
    subprocess.run(command, check=True, capture_output=True)
    return folder / size


def main() -> None:
    """One configuration, or the table."""
    if len(sys.argv) > 1:
        backend, folder, batch, length, checkpoint, *settings = sys.argv[1:]
        print(json.dumps(measure(backend, Path(folder), int(batch), int(length), checkpoint == "on", settings)))
        return
    print("backend  model  batch  length  checkpoint  settings  estimate MB  measured MB  off by")
    with tempfile.TemporaryDirectory() as place:
        folders = {size: make_model(size, Path(place)) for size in dict.fromkeys(size for size, *_ in CONFIGURATIONS)}
        for backend in ("mlx", "cuda"):
            for size, batch, length, checkpoint, *settings in CONFIGURATIONS:
                seen = in_process(backend, folders[size], batch, length, checkpoint, *settings)
                guess, peak = seen["estimate"] / 1e6, seen["peak"] / 1e6
                print(f"{backend:8} {size:5} {batch:6} {length:7}  {checkpoint!s:10}  {' '.join(settings) or 'on':9} "
                      f"{guess:12.0f} {peak:12.0f} {guess / peak - 1:+7.0%}", flush=True)


if __name__ == "__main__":
    main()
