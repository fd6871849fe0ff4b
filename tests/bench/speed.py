"""Speed and memory of training steps: each saving on and off, long prompts, large vocabularies, and how cost grows.
Needs ../shared; every measurement runs in a process of its own. Other trainers: `tuners/compare.py`.

    python tests/bench/speed.py prompts            # prompts four times as long as the answers
    python tests/bench/speed.py vocabulary         # 152,000 against 32,000
    python tests/bench/speed.py again              # the reference's share of a second run
    python tests/bench/speed.py share              # of the matrix-product rate, 135m
    python tests/bench/speed.py growth             # pairs, layers, lengths
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "backends")]
SHARED = ROOT.parent / "shared"
BACKENDS = ("mlx", "cuda")
GROWTH = {"batch": (1, 2, 4), "layers": (2, 4, 8), "length": (128, 256, 512, 1024, 2048, 4096)}
STEPS = 10  # the first two are not counted


def measure(backend: str, folder: Path, options: dict[str, Any]) -> dict[str, Any]:
    """One setting in this process. Options: batch, tokens, steps, levers (all, none, or names), layers, checkpoint,
    prompt and answer (random pairs of that many tokens instead of GSM8K's), answers (of each such prompt, else 2),
    device (else the CPU), quantize (bits of the base),
    reference (computed in every step), products (of large matrices after each step, in eights)."""
    from mio_local.adapters.adapter import choose_layers, draw_adapter
    from mio_local.bench.measure import needed, steps
    from mio_local.data.collate import collate
    from mio_local.data.stepping.step_order import Order
    from mio_local.models.shapes import read_shape
    from mio_local.recipe import PLAIN, SpeedSettings, build

    batch, count, levers = options.get("batch", 4), options.get("steps", STEPS), options.get("levers", "all")
    device, lora = options.get("device", "cpu"), {"rank": 8, "alpha": 16, "layers": options.get("layers", 0)}
    recipe = build({"lora": lora, "model": {"quantize": options.get("quantize", 0)}}, "bench")
    if backend == "mlx":
        from mio_mlx import MlxBackend as Backend
    else:
        from mio_cuda import CudaBackend as Backend
    found = Backend()
    checkpoint = bool(options.get("checkpoint"))
    model = found.load(folder, recipe.model, device, grad_checkpoint=checkpoint, seed=0)
    dtype = "float32" if found.probe(device).kind == "cpu" else found.auto_dtype(device)
    slots = model.add_lora(recipe.lora, recipe.train, choose_layers(model.linear_layers(), recipe.lora))
    model.set_adapter(draw_adapter(slots, 0))
    speed = {"all": SpeedSettings(), "none": PLAIN}.get(levers) or PLAIN.model_copy(
        update=dict.fromkeys(levers.split(","), True)
    )
    refused = model.use(speed)
    speed = speed.without(refused)
    shape = read_shape(folder)
    examples = pairs(folder, shape.vocabulary, batch * count, options)
    if "answer" in options:
        groups = [examples[i : i + batch] for i in range(0, batch * count, batch)]
    else:
        order = Order.of(examples, batch, 0)
        groups = [[examples[i] for i in order.pairs(k)] for k in range(count)]
    # transformers leaves the weights where the file is mapped: they count once they are read
    model.logps(collate(examples[:1], [0], 0, shared=speed.share_prompt), reference=False)
    before = model.memory()
    work = [needed(shape, recipe.lora, group) for group in groups]
    rates: list[list[float]] = []  # in turn with the steps, as the machine's speed changes
    for last in steps(model, speed, groups, 0, work, reference=bool(options.get("reference"))):  # noqa: B007
        rates.append([rate for _ in range(options.get("products", 1)) for rate in found.matrix_rates(device, dtype)])
    counted = [rate for some in rates[-len(last.seconds) :] for rate in some]
    return {
        "pairs_per_second": last.per_second(last.pairs), "tokens_per_second": last.per_second(last.tokens),
        "rate": last.per_second(last.work), "matrix_rate": statistics.median(map(max, rates)),
        # all the work over all its seconds, on both sides: what the host takes away then slows both alike
        "mean_rate": sum(last.work) / sum(last.seconds), "mean_matrix_rate": statistics.harmonic_mean(counted),
        "seconds": last.seconds, "tokens": statistics.mean(last.tokens), "model": before.active, "peak": last.peak,
        "refused": refused, "dtype": dtype,
    }  # fmt: skip


def pairs(folder: Path, vocabulary: int, count: int, options: dict[str, Any]) -> list[Any]:
    """GSM8K's first pairs that fit, or random ones of given lengths."""
    from mio_local.data.examples import Example
    from mio_local.progress import silent
    from mio_local.recipe import build
    from mio_local.training.inputs import tokenised

    if "answer" in options:
        import numpy as np

        prompt, answer, answers = options["prompt"], options["answer"], options.get("answers", 2)
        ids = np.random.default_rng(0).integers(0, vocabulary, (count, prompt + answers * answer)).tolist()
        starts = range(prompt, prompt + answers * answer, answer)
        cut = ([row[:prompt], *(row[start : start + answer] for start in starts)] for row in ids)
        return [Example(*parts[:3], False, False, False, "", others=tuple(parts[3:])) for parts in cut]
    data = {"source": str(SHARED / "data" / "gsm8k" / "train.jsonl"), "eval_fraction": 0, "limit": 4 * count}
    data["max_tokens"] = options.get("tokens", 512)
    recipe = build({"model": {"name": str(folder)}, "data": data}, "bench")
    found = tokenised(recipe, 0.0, silent).tokens
    whole = [example for example in found.train if not example.truncated_chosen and not example.truncated_rejected]
    return whole[:count]


def app(backend: str, folder: Path, **options: Any) -> dict[str, Any]:
    """`measure` in a new process, with the BLAS that the app preloads, on two threads."""
    from mio_local.process import fast_library

    environment = {**os.environ, "OMP_NUM_THREADS": "2"}
    if backend == "mlx" and (library := fast_library()):
        environment |= {"LD_PRELOAD": library, "OPENBLAS_NUM_THREADS": "2"}
    words = [sys.executable, "-W", "ignore", __file__, "measure", backend, str(folder), json.dumps(options)]
    done = subprocess.run(words, capture_output=True, text=True, env=environment)
    if done.returncode != 0:
        raise RuntimeError(done.stderr[-2000:])
    return json.loads(done.stdout.splitlines()[-1])


def make_model(size: str, folder: Path, vocabulary: int = 32000) -> Path:
    """A random Llama of real shape, by the shared script."""
    script, place = SHARED / "models" / "llama-shapes" / "make.py", folder / f"{size}-{vocabulary}"
    if not place.exists():
        command = [sys.executable, str(script), str(place), "--size", size, "--vocab", str(vocabulary)]
        subprocess.run(command, check=True, capture_output=True)
    return place


def megabytes(size: float) -> str:
    """Bytes as MB of 10^6."""
    return f"{size / 1e6:,.0f}"


def prompts(place: Path, rounds: int = 1) -> None:
    """Prompts of 256 tokens, answers of 64: the plain path, all savings but the shared prompt, and all."""
    folder = make_model("27m", place)
    print("backend  round  plain pairs/s  twice  once   once/plain  once/twice   (bound of the trunk's tokens 1.67)")
    for backend in BACKENDS:
        for number in range(rounds):
            lengths = {"prompt": 256, "answer": 64}
            plain, twice, once = (
                app(backend, folder, levers=levers, **lengths)["pairs_per_second"]
                for levers in ("none", "answer_head,lean_adapter", "all")
            )
            print(f"{backend:7} {number + 1:6} {plain:14.2f} {twice:6.2f} {once:5.2f} {once / plain:12.2f} "
                  f"{once / twice:11.2f}", flush=True)


def vocabulary(place: Path) -> None:
    """Peak memory beyond the model with 32,000 and with 152,000 tokens, against the full logits of the batch."""
    print("backend   32,000 MB  152,000 MB   growth MB  full logits MB  share")
    for backend in BACKENDS:
        folders = [make_model("27m", place, count) for count in (32000, 152000)]
        found = [app(backend, folder, prompt=128, answer=128) for folder in folders]
        small, large = (one["peak"] - one["model"] for one in found)
        full = 4 * 2 * 256 * 152000 * 4
        print(f"{backend:7} {megabytes(small):>11} {megabytes(large):>11} {megabytes(large - small):>11} "
              f"{megabytes(full):>15} {(large - small) / full:6.1%}", flush=True)


def again(place: Path) -> None:
    """Seconds of a run's steps that went to the reference: a first run, and a second one over the same pairs."""
    folder = make_model("27m", place)
    settings = {"data.limit": 48, "data.eval_fraction": 0, "eval.sample_tokens": 0, "train.save_every": 0}
    data = str(SHARED / "data" / "gsm8k" / "train.jsonl")
    words = ["train", "--model", str(folder), "--data", data, "--device", "cpu", "--max-tokens", "512", "--rank", "8",
             "--steps", str(STEPS)]  # fmt: skip
    words += [word for key, value in settings.items() for word in ("--set", f"{key}={value}")]
    print("backend  run  seconds  of the reference  share")
    with tempfile.TemporaryDirectory() as runs:
        for backend in BACKENDS:
            environment = {**os.environ, "MIO_LOCAL_RUNS": runs, "MIO_LOCAL_CACHE": f"{runs}/cache-{backend}"}
            for name in (f"{backend}-1", f"{backend}-2"):
                command = [sys.executable, "-m", "mio_local.cli", *words, "--backend", backend, "--name", name]
                subprocess.run(command, check=True, capture_output=True, env=environment)
                events = map(json.loads, (Path(runs) / name / "events.jsonl").read_text(encoding="utf-8").splitlines())
                steps = [event for event in events if event["type"] == "step"]
                took, spent = (sum(step[f"perf/{key}"] for step in steps) for key in ("seconds", "reference_seconds"))
                print(f"{backend:7} {name[-1]:>4} {took:8.1f} {spent:17.3f} {spent / took:6.2%}", flush=True)


def share(place: Path, rounds: int = 2) -> None:
    """The needed work per second as a share of the matrix-product rate of the same process: the median step against the
    fastest products, then all steps against all products, four times eight of them after each step."""
    print("backend  model  round  median GFLOP/s   of    share   mean GFLOP/s   of    share")
    for backend, size in (("cuda", "135m"), ("cuda", "27m"), ("mlx", "27m"), ("mlx", "135m")):
        for number in range(rounds):
            found = app(backend, make_model(size, place), products=4)
            print(f"{backend:7}  {size:5} {number + 1:6}", *(
                f"{found[kind + 'rate'] / 1e9:14.1f} {found[kind + 'matrix_rate'] / 1e9:6.1f} "
                f"{found[kind + 'rate'] / found[kind + 'matrix_rate']:6.0%}" for kind in ("", "mean_")
            ), flush=True)


def growth(place: Path) -> None:
    """Seconds of a step against pairs, adapted layers, and length; checkpointed where the lengths are great."""
    folder = make_model("27m", place)
    print("backend  what        value   s/step   per unit ms  peak beyond the model MB")
    for backend in BACKENDS:
        for what, values in GROWTH.items():
            for value in values:
                options: dict[str, Any] = {"prompt": 64, "answer": 64, "steps": 5, what: value}
                if what == "length":
                    options |= {"prompt": value // 2, "answer": value // 4, "batch": 1}
                found = app(backend, folder, **{key: number for key, number in options.items() if key != "length"})
                took = statistics.median(found["seconds"])
                print(f"{backend:7}  {what:8} {value:8} {took:8.3f} {1e3 * took / value:12.3f} "
                      f"{megabytes(found['peak'] - found['model']):>12}", flush=True)


def main() -> None:
    """One table, or one measurement as JSON."""
    what, *rest = sys.argv[1:] or ["prompts"]
    if what == "measure":
        backend, folder, options = rest
        print(json.dumps(measure(backend, Path(folder), json.loads(options))))
        return
    tables = {"prompts": prompts, "vocabulary": vocabulary, "again": again, "share": share, "growth": growth}
    with tempfile.TemporaryDirectory() as place:
        tables[what](Path(os.environ.get("MIO_BENCH_MODELS", place)), *map(int, rest))


if __name__ == "__main__":
    main()
