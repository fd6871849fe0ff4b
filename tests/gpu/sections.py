"""What `run.py` measures, each in a process of its own: python tests/gpu/sections.py NAME BACKEND DEVICE FOLDER OPTIONS

OPTIONS is JSON. Prints a line of JSON, the last one.
"""

import json
import sys
from collections import Counter
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "backends")]
PROMPT, ANSWER = 180, 300  # tokens


def exactness(backend: str, device: str, folder: Path, options: dict[str, Any]) -> dict[str, Any]:
    """The loss before the first step beside its value there, and by saving how far it moves two answers' log-probs,
    nats; in 16 bits the plain path's own rounding is in them."""
    import numpy as np

    from mio_local.data.collate import collate
    from mio_local.objectives.losses import LOSSES, objective
    from mio_local.recipe import PLAIN, SpeedSettings
    from mio_local.training.optimizations import SCORED
    from tests.bench.speed import pairs

    model, vocabulary = _loaded(backend, device, folder, options)
    examples = pairs(folder, vocabulary, 4, options)

    def scored(**levers: bool) -> np.ndarray:
        model.use(PLAIN.model_copy(update=levers))
        return model.logps(collate(examples, range(4), 0, shared=model.speed.share_prompt), reference=False)

    plain = scored()
    off = {lever: float(np.abs(scored(**{lever: True}) - plain).max()) for lever in SCORED}
    off["all"] = float(np.abs(scored(**dict.fromkeys(SCORED, True)) - plain).max())
    losses = {}
    for name in ("mio", "dpo"):
        model.use(SpeedSettings())
        batch = collate(examples, range(4), 0, shared=model.speed.share_prompt)
        goal = objective(name, 0.1, "sum")
        losses[name] = model.accumulate(batch, model.logps(batch, reference=True), goal, 0.0).loss / 4
    return {"off": off, "losses": losses, "expected": {name: LOSSES[name].start(0.1) for name in losses},
            "nats": float(np.abs(plain).mean())}  # fmt: skip


def step(backend: str, device: str, folder: Path, options: dict[str, Any]) -> dict[str, Any]:
    """Training steps: see `speed.measure`."""
    from tests.bench.speed import measure

    return measure(backend, folder, {"device": device, "prompt": PROMPT, "answer": ANSWER, **options})


def memory(backend: str, device: str, folder: Path, options: dict[str, Any]) -> dict[str, Any]:
    """The estimate and the peak of steps: see `memory.measure`."""
    from tests.bench.memory import measure

    given = (options[key] for key in ("batch", "length", "checkpoint", "settings"))
    return measure(backend, folder, *given, device)


def kernels(backend: str, device: str, folder: Path, options: dict[str, Any]) -> dict[str, Any]:
    """PyTorch's profiler over one step: launches, waits of the host, copies, and the kernels that take longest."""
    import torch
    from torch.profiler import ProfilerActivity, profile

    from mio_local.data.collate import collate
    from mio_local.objectives.losses import objective
    from mio_local.recipe import SpeedSettings
    from tests.bench.speed import pairs

    model, vocabulary = _loaded(backend, device, folder, options)
    model.use(SpeedSettings())
    examples, goal = pairs(folder, vocabulary, 8, options), objective("mio", 0.1, "sum")

    def take(first: int) -> None:
        batch = collate(examples, range(first, first + 4), 0, shared=model.speed.share_prompt)
        model.accumulate(batch, model.logps(batch, reference=True), goal, 0.25)
        model.apply(1e-5)

    take(0)
    gpu = model.device.type == "cuda"
    kinds = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if gpu else [])]
    with profile(activities=kinds) as seen:
        take(4)
        if gpu:
            torch.cuda.synchronize()
    counted, taken = Counter[str](), Counter[str]()
    for event in seen.key_averages():
        counted[event.key] += event.count
        taken[event.key] += round(event.self_device_time_total if gpu else event.self_cpu_time_total)
    waiting = ("Synchronize", "aten::_local_scalar_dense")
    waits = sum(count for name, count in counted.items() if any(word in name for word in waiting))
    return {
        "launches": sum(count for name, count in counted.items() if "LaunchKernel" in name),
        "operations": sum(count for name, count in counted.items() if name.startswith("aten::")), "waits": waits,
        "copies": sum(count for name, count in counted.items() if "Memcpy" in name and "Async" in name),
        "longest": [[name, took / 1000, counted[name]] for name, took in taken.most_common(12)],
    }  # fmt: skip


def resume(backend: str, device: str, folder: Path, options: dict[str, Any]) -> dict[str, Any]:
    """A run of six steps beside one that ends after its checkpoint of three and is taken up again."""
    import tempfile

    import numpy as np

    from mio_local.adapters.adapter import read_adapter
    from mio_local.recipe import build
    from mio_local.runs.directory import Run
    from mio_local.training.loop import train
    from mio_local.training.prepare import start
    from mio_local.training.reopen import reopen

    with tempfile.TemporaryDirectory() as place:
        pairs, runs = Path(place) / "pairs.jsonl", Path(place) / "runs"
        rows = ({"prompt": f"{n} and {n}?", "chosen": f"{2 * n}.", "rejected": f"{2 * n + 1}?"} for n in range(40))
        pairs.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
        tables = {
            "model": {"name": str(folder)}, "data": {"source": str(pairs)}, "eval": {"sample_tokens": 0},
            "train": {"steps": 6, "batch_size": 4, "save_every": 3, "learning_rate": 1e-3},
            "backend": {"name": backend, "device": device},
        }  # fmt: skip
        list(train(start(build(tables, "bench"), runs, "whole")))
        job = start(build(tables, "bench"), runs, "halves")
        events = train(job)
        for event in events:
            if event.type == "checkpoint":
                break
        events.close()  # type: ignore[attr-defined]
        del job
        list(train(reopen(Run(runs / "halves"))))
        one, two = (read_adapter(runs / name / "adapter").weights for name in ("whole", "halves"))
        return {"off": max(float(np.abs(one[name] - two[name]).max()) for name in one)}


def _loaded(backend: str, device: str, folder: Path, options: dict[str, Any]) -> tuple[Any, int]:
    """A model ready to train, and how many tokens it knows."""
    from mio_local.adapters.adapter import choose_layers, draw_adapter
    from mio_local.backends import load_backend
    from mio_local.models.shapes import read_shape
    from mio_local.recipe import build

    recipe = build({"model": {"quantize": options.get("quantize", 0)}}, "bench")
    model = load_backend(backend).load(folder, recipe.model, device, grad_checkpoint=False, seed=0)
    slots = model.add_lora(recipe.lora, recipe.train, choose_layers(model.linear_layers(), recipe.lora))
    model.set_adapter(draw_adapter(slots, 0))
    return model, read_shape(folder).vocabulary


SECTIONS = {"exactness": exactness, "step": step, "memory": memory, "kernels": kernels, "resume": resume}

if __name__ == "__main__":
    _, chosen, library, place, model_folder, given = sys.argv
    more = {"prompt": PROMPT, "answer": ANSWER, **json.loads(given)}
    print(json.dumps(SECTIONS[chosen](library, place, Path(model_folder), more)))
