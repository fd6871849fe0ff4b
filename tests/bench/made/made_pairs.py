"""What learning from a model's own answers brings: each way, several seeds, on the demo model or on gsm8k-mini.

    python tests/bench/made/made_pairs.py OUT demo|gsm8k-mini [--ways gold-mio,rloo,...] [--seeds 0,1,2]

OUT is a folder of runs and made pairs, kept: what is there is not made again. Prints a line a run as it ends, then a
table: the share of held-out questions answered right greedily (mean over seeds, with the 95 % interval of all answers),
the change of the known answers' log-probs, the KL divergence from the base per answer, and the seconds of making and
training. gsm8k-mini and its questions are looked for in --shared, the folder beside the repository.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from mio_local.objectives.intervals import proportion

ROOT = Path(__file__).resolve().parents[3]
WAYS = {
    "gold-mio": ["--loss", "mio"],
    "gold-dpo": ["--loss", "dpo"],
    "rounds-mio": ["--loss", "mio", "--rounds", "3"],
    "rloo": ["--loss", "rloo", "--rounds", "60", "--set", "make.per_round=8", "--batch-size", "8"],
    "raft": ["--loss", "raft", "--rounds", "3"],
}
DEMO = ROOT / "recipes" / "demo"


def settings(model: str, shared: Path) -> dict[str, Any]:
    """Where a model's data lie, and what all ways of it have in common."""
    if model == "demo":
        common = ["--rank", "8", "--learning-rate", "1e-3", "--batch-size", "4", "--answer-tokens", "64"]
        return {"model": DEMO / "model", "train": DEMO / "train.jsonl", "valid": DEMO / "valid.jsonl",
                "questions": DEMO / "tasks.jsonl", "beta": 0.2, "common": common, "limit": 600, "round": 200,
                "answers": 4}  # fmt: skip
    folder = shared / "data" / "gsm8k"
    common = ["--rank", "16", "--learning-rate", "5e-4", "--batch-size", "8", "--answer-tokens", "128"]
    return {"model": shared / "models" / "gsm8k-mini", "train": folder / "train.jsonl", "valid": folder / "valid.jsonl",
            "questions": folder / "valid.jsonl", "beta": 0.1, "common": common, "limit": 400, "round": 130,
            "answers": 8}  # fmt: skip


def command(*words: object) -> str:
    """Run mio-local; its output. Raises CalledProcessError."""
    code = "import sys; from mio_local.cli import main; sys.exit(main())"
    done = subprocess.run([sys.executable, "-c", code, *map(str, words)], capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{' '.join(map(str, words))}\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}")
    return done.stdout


def questions_of(file: Path, out: Path) -> Path:
    """Questions with their answers: a file's own, or those of pairs whose prompts are questions."""
    rows = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
    if "question" in rows[0]:
        return file
    asked = out / "questions.jsonl"
    found = [{"question": row["prompt"], "answer": row.get("answer") or row["chosen"]} for row in rows]
    asked.write_text("".join(json.dumps(row) + "\n" for row in found), encoding="utf-8")
    return asked


def train(out: Path, way: str, seed: int, s: dict[str, Any], backend: str) -> dict[str, float]:
    """Make, train and measure one run; its figures."""
    name, began = f"{way}-{seed}", time.perf_counter()
    beta = s["beta"] / 2 if way.endswith("dpo") else s["beta"] / 4 if way == "rloo" else s["beta"]
    base = ["--model", s["model"], "--seed", seed, "--backend", backend, "--device", "cpu", "--answers", s["answers"]]
    flags = [*base, *s["common"], *WAYS[way], "--beta", beta]
    if not (out / name).exists():
        if way.startswith("gold"):
            pairs = out / f"gold-{seed}.jsonl"
            if not pairs.exists():
                command("data", "make", *base, *s["common"][-2:], "--prompts", s["train"], "--limit", s["limit"],
                        "--judge", "gold", "--out", pairs)  # fmt: skip
            data = ["--data", pairs]
        else:
            data = ["--data", s["train"], "--limit", 3 * s["round"], "--judge", "last-number"]
            data += [] if way == "rloo" else ["--set", f"make.per_round={s['round']}"]
        command("train", "--runs", out, "--name", name, *data, "--eval-data", s["valid"], "--eval-every", 1000,
                "--set", "eval.sample_tokens=0", *flags)  # fmt: skip
        (out / f"{name}.seconds").write_text(str(time.perf_counter() - began), encoding="utf-8")
    seconds = float((out / f"{name}.seconds").read_text(encoding="utf-8"))
    questions = questions_of(s["questions"], out)
    command("eval", name, "--runs", out, "--data", s["valid"], "--samples", 64, "--questions", questions)
    figures: dict[str, float] = {"seconds": seconds}
    for line in (out / name / "events.jsonl").read_text(encoding="utf-8").splitlines():
        event = json.loads(line)
        if event["type"] == "benchmark":
            figures[f"{event['name']}/{event['metric']}/{event['of']}"] = event["value"]
            figures[f"{event['name']}/count"] = event["count"]
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("model", choices=["demo", "gsm8k-mini"])
    parser.add_argument("--ways", default=",".join(WAYS))
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--shared", type=Path, default=ROOT.parent / "shared")
    parser.add_argument("--backend", default="mlx")
    arguments = parser.parse_args()
    os.environ.setdefault("MIO_LOCAL_CACHE", str(arguments.out / "cache"))
    arguments.out.mkdir(parents=True, exist_ok=True)
    s, rows = settings(arguments.model, arguments.shared), []
    for way in arguments.ways.split(","):
        found = []
        for seed in map(int, arguments.seeds.split(",")):
            figures = train(arguments.out, way, seed, s, arguments.backend)
            print(way, seed, json.dumps({key: round(value, 4) for key, value in figures.items()}), flush=True)
            found.append(figures)
        rows.append((way, found))
    print("| way | right before | right after (95 %) | chosen, nats | KL, nats an answer | seconds |")
    print("|---|---|---|---|---|---|")
    for way, found in rows:
        right = [one["exact-match/accuracy/policy"] for one in found]
        low, high = proportion(float(np.mean(right)), found[0]["exact-match/count"] * len(found))
        before = np.mean([one["exact-match/accuracy/base"] for one in found])
        means = {key: np.mean([one[key] for one in found])
                 for key in ("preference/delta/chosen/policy", "kl/per_answer/policy", "seconds")}  # fmt: skip
        print(f"| {way} | {before:.1%} | {np.mean(right):.1%} ({low:.1%} to {high:.1%}) | "
              f"{means['preference/delta/chosen/policy']:+.2f} | {means['kl/per_answer/policy']:+.2f} | "
              f"{means['seconds']:.0f} |")  # fmt: skip


if __name__ == "__main__":
    main()
