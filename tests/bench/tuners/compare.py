"""Speed, memory and losses of the app and of three other preference tuners on the same work, each in a process of its
own.

    python tests/bench/tuners/compare.py [--size 27m] [--rounds 3]    # all in turn, on a random model; needs ../shared
    python tests/bench/tuners/compare.py --folder FOLDER              # on the model in FOLDER
    python tests/bench/tuners/compare.py measure NAME FOLDER          # one, in this process: its last line is JSON

NAME is `app-mlx` or `app-cuda`; `mlx-lm-lora`, run by MIO_LORA_PYTHON, and `unsloth`, by MIO_UNSLOTH_PYTHON,
interpreters of environments that have them (with `mlx[cpu]` here; unsloth_zoo installed without its dependencies,
beside mlx-lm, mlx-vlm and datasets); or `trl`, run by this interpreter. All in turn leaves out what has no interpreter.

LoRA on every linear layer but the head, AdamW without decay, float32, THREADS threads, no gradient checkpointing;
pairs, tokens, batches and first adapter are the same for all. A first epoch has the reference in it: in every step, as
by default with everybody. A later one knows it: the app always; unsloth-zoo and TRL with `precompute_ref_log_probs`,
whose pass before the first step is `pass s`; mlx-lm-lora never, so that its later epochs are like the first. The app's
objective is MIO (nca_pair); for the losses of mlx-lm-lora, which has not that one, DPO without clipping. Peaks are of
MLX's arrays, the model included; with PyTorch the process's, beyond the model. CPU seconds are those of all threads: on
a busy machine they say more than the clock's.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[3]
sys.path[:0] = [str(ROOT), str(ROOT / "backends")]

from tests.bench.tuners.work import SHARED, THREADS, Work  # noqa: E402

PEERS = {"mlx-lm-lora": "app-mlx", "unsloth": "app-mlx", "trl": "app-cuda"}  # and the app's side
PYTHONS = {"mlx-lm-lora": "MIO_LORA_PYTHON", "unsloth": "MIO_UNSLOTH_PYTHON"}
NAMES = ("mlx-lm-lora", "unsloth", "app-mlx", "trl", "app-cuda")
Found = dict[tuple[str, bool], list[dict[str, Any]]]  # by name and --cached, a result a round


def measure(name: str, work: Work) -> dict[str, Any]:
    """One of NAMES, in this process."""
    if name == "trl":
        from tests.bench.tuners.trl_peer import measure_trl

        return measure_trl(work)
    if name in PYTHONS:
        from tests.bench.tuners import mlx_peers

        return (mlx_peers.measure_unsloth if name == "unsloth" else mlx_peers.measure_mlx_lm_lora)(work)
    from tests.bench.tuners.app_side import measure_app

    return measure_app(work, name.removeprefix("app-"))


def apart(name: str, work: Work) -> dict[str, Any]:
    """`measure` in a new process of its own interpreter, with the BLAS that suits it.

    Raises RuntimeError with the end of what it said, where it fails.
    """
    from mio_local.process import fast_library

    ours = ("LD_PRELOAD", "MKL_THREADING_LAYER", "MKL_CBWR")  # what blas.preload sets for the app
    environment = {key: value for key, value in os.environ.items() if key not in ours}
    environment |= {"HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false", "OMP_NUM_THREADS": str(THREADS)}
    if PEERS.get(name, name) == "app-mlx" and (library := fast_library()):
        environment |= {"LD_PRELOAD": library, "OPENBLAS_NUM_THREADS": str(THREADS)}
    python = os.environ.get(PYTHONS.get(name, ""), sys.executable)
    words = [python, "-W", "ignore", __file__, "measure", name, str(work.folder), "--batch", str(work.batch),
             "--tokens", str(work.tokens), "--steps", str(work.steps), "--loss", work.loss]  # fmt: skip
    done = subprocess.run(words + ["--cached"] * work.cached, capture_output=True, text=True, env=environment)
    if done.returncode != 0:
        raise RuntimeError(done.stderr[-2000:])
    return json.loads(done.stdout.splitlines()[-1])


def make_model(size: str, vocabulary: int, folder: Path) -> Path:
    """A random Llama of real shape, by the shared script."""
    script = SHARED / "models" / "llama-shapes" / "make.py"
    command = [sys.executable, str(script), str(folder / size), "--size", size, "--vocab", str(vocabulary)]
    subprocess.run(command, check=True, capture_output=True)
    return folder / size


def beyond(name: str, one: dict[str, Any]) -> float:
    """The peak that is compared, MB of 10^6."""
    return (one["peak"] - (one["model"] if PEERS.get(name, name) == "app-cuda" else 0)) / 1e6


def rounds(work: Work, names: list[str], count: int, out: Path | None) -> Found:
    """Every one in turn, `count` times, a line each."""
    found: Found = {}
    print("round  name         version    epoch  pairs/s  CPU s/pair  pass s  peak MB  tokens  padded  load")
    for number in range(count):
        for name in names:
            for cached in (False, True) if name != "mlx-lm-lora" else (False,):
                one = apart(name, replace(work, cached=cached)) | {"load": os.getloadavg()[0], "round": number + 1}
                found.setdefault((name, cached), []).append(one)
                print(f"{number + 1:5}  {name:12} {one['version']:10} {'later' if cached else 'first':5} "
                      f"{one['pairs_per_second']:8.3f} {one['cpu_per_pair']:11.2f} {one['pass_seconds']:7.1f} "
                      f"{beyond(name, one):8.0f} {one['tokens']:7.0f} {one['padded']:7.0f} {one['load']:5.1f}",
                      flush=True)  # fmt: skip
                if out:
                    line = json.dumps({"side": name, "folder": str(work.folder), "cached": cached} | one)
                    with out.open("a", encoding="utf-8") as file:
                        file.write(line + "\n")
    return found


def middle(values: list[float]) -> str:
    """The median, and the range; of hundreds without decimals."""
    digits = 0 if min(values) > 100 else 2
    return f"{statistics.median(values):.{digits}f} ({min(values):.{digits}f} to {max(values):.{digits}f})"


def summary(found: Found) -> None:
    """Medians and ranges over the rounds; ratios are within a round."""
    print("\npeer, epoch: its pairs/s; the app's; times as fast; its CPU seconds by the app's; its peak MB; the app's")
    for name, ours in PEERS.items():
        for epoch, cached in (("first", False), ("later", True)):
            theirs = found.get((name, cached)) or found.get((name, False))
            if not theirs or not (mine := found.get((ours, cached))):
                continue
            both = list(zip(theirs, mine, strict=True))
            print(f"{name}, {epoch}:", "; ".join(map(middle, (
                [one["pairs_per_second"] for one in theirs], [one["pairs_per_second"] for one in mine],
                [second["pairs_per_second"] / first["pairs_per_second"] for first, second in both],
                [first["cpu_per_pair"] / second["cpu_per_pair"] for first, second in both],
                [beyond(name, one) for one in theirs], [beyond(ours, one) for one in mine],
            ))), flush=True)  # fmt: skip


def agree(work: Work, found: Found) -> None:
    """How far a peer's losses are from the app's, step by step from the same first adapter."""
    print("\nlosses: the peer's first; the app's first; largest difference over the steps, relative")
    for name, ours in PEERS.items():
        for cached in (False, True):
            if not (theirs := found.get((name, cached))):
                continue
            mine = apart(ours, replace(work, loss="dpo")) if name == "mlx-lm-lora" else found[(ours, cached)][0]
            both = list(zip(theirs[0]["losses"][: work.all_steps], mine["losses"], strict=True))
            off = max(abs(first / second - 1) for first, second in both)
            print(f"{name}{', cached' * cached}: {both[0][0]:.6f}; {both[0][1]:.6f}; {off:.1e}", flush=True)


def main() -> None:
    """One measurement in this process, or all of them in turn."""
    parser = argparse.ArgumentParser(description="Speed, memory and losses of the app beside other preference tuners.")
    parser.add_argument("words", nargs="*", metavar="measure NAME FOLDER", help="one, in this process")
    parser.add_argument("--size", default="27m", help="of the random model (default: 27m)")
    parser.add_argument("--vocab", type=int, default=32000, help="rows of its head (default: 32000)")
    parser.add_argument("--folder", type=Path, help="a model instead of a random one")
    parser.add_argument("--batch", type=int, default=4, help="pairs of a step (default: 4)")
    parser.add_argument("--tokens", type=int, default=512, help="of a conversation, at most (default: 512)")
    parser.add_argument("--steps", type=int, default=4, help="that count (default: 4)")
    parser.add_argument("--rounds", type=int, default=3, help="(default: 3)")
    parser.add_argument("--out", type=Path, help="a file for the results, a line each")
    parser.add_argument("--cached", action="store_true", help="the reference in a pass before the steps (one)")
    parser.add_argument("--loss", default="mio", help="the app's objective (one)")
    parser.add_argument("--made", action="store_true", help="made pairs of a length instead of GSM8K's (one)")
    parser.add_argument("--device", choices=("cpu", "gpu"), default="cpu", help="(one)")
    given = parser.parse_args()
    tokens = 0 if given.made else given.tokens
    work = Work(Path(), given.batch, tokens, given.steps, given.cached, given.device, given.loss)
    if given.words:
        if len(given.words) != 3 or given.words[0] != "measure" or given.words[1] not in NAMES:
            parser.error(f"measure NAME FOLDER, where NAME is one of {', '.join(NAMES)}")
        print(json.dumps(measure(given.words[1], replace(work, folder=Path(given.words[2])))))
        return
    names = [name for name in NAMES if name not in PYTHONS or PYTHONS[name] in os.environ]
    with tempfile.TemporaryDirectory() as place:
        work = replace(work, folder=given.folder or make_model(given.size, given.vocab, Path(place)))
        found = rounds(work, names, given.rounds, given.out)
        summary(found)
        agree(work, found)


if __name__ == "__main__":
    main()
