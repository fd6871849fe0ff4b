"""The work that the app and its peers are measured on: the same pairs, batches and first adapter, whoever trains.

Needs numpy and transformers alone: a peer's own environment has them, and not the app's.
"""

import importlib.metadata
import json
import random
import time
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[3]
SHARED = ROOT.parent / "shared"
THREADS = 2
RANK, ALPHA = 8, 16
BETA = 0.1
RATE = 1e-4  # constant; high enough for losses to move within a few steps
CLIP = 1.0
LONGEST = 1024  # tokens of a conversation of made pairs, its template included
MADE = {"prompt": 180, "chosen": 300, "rejected": 300}
SEED = 0
SIDES = ("chosen", "rejected")


@dataclass(frozen=True)
class Work:
    """What is to be trained on: `steps` batches of pairs of at most `tokens` tokens a conversation, after those that do
    not count; `tokens` 0 for pairs of MADE letters. `cached`: the reference is computed before the first step, where
    the trainer can. `loss` is the app's objective; a peer has the one it has."""

    folder: Path
    batch: int = 4
    tokens: int = 512
    steps: int = 4
    cached: bool = False
    device: str = "cpu"
    loss: str = "mio"

    @property
    def longest(self) -> int:
        """Tokens of a conversation, at most."""
        return self.tokens or LONGEST

    @property
    def warm_up(self) -> int:
        """Steps that do not count."""
        return 1 if self.device == "cpu" else 2

    @property
    def all_steps(self) -> int:
        """Steps taken, the warm-up included."""
        return self.steps + self.warm_up


@dataclass(frozen=True)
class Pair:
    """A prompt and its answers by name, as the texts of the chat template and as their tokens, each text by itself. An
    answer ends with the end token: what a template puts behind it is no part of the answer."""

    texts: dict[str, str]
    ids: dict[str, list[int]]

    @property
    def size(self) -> int:
        """Tokens of both conversations."""
        return sum(len(self.ids["prompt"]) + len(self.ids[side]) for side in SIDES)


def rows(tokens: int) -> Iterable[dict[str, str]]:
    """Prompts with two answers: GSM8K's, or letters, which a tokenizer of bytes takes for as many tokens."""
    if not tokens:
        rng = random.Random(SEED)
        while True:
            yield {key: "".join(rng.choices("abcdefgh ", k=size)) for key, size in MADE.items()}
    with (SHARED / "data" / "gsm8k" / "train.jsonl").open(encoding="utf-8") as lines:
        yield from map(json.loads, lines)


def batches(work: Work) -> list[list[Pair]]:
    """The first pairs that fit, sorted by length and cut into batches, which are shuffled.

    Raises ValueError where there are too few.
    """
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(work.folder)
    count, found = work.batch * work.all_steps, []
    for row in rows(work.tokens):
        turns = [{"role": "user", "content": row["prompt"]}]
        prompt = tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True)
        texts = {"prompt": prompt, **{side: row[side] + tokenizer.eos_token for side in SIDES}}
        ids = {"prompt": tokenizer(prompt)["input_ids"]}
        ids |= {side: tokenizer(texts[side], add_special_tokens=False)["input_ids"] for side in SIDES}
        if max(len(ids["prompt"]) + len(ids[side]) for side in SIDES) <= work.longest:
            found.append(Pair(texts, ids))
        if len(found) == count:
            break
    else:
        raise ValueError(f"only {len(found)} pairs of at most {work.longest} tokens, {count} asked for")
    found.sort(key=lambda pair: pair.size)
    cut = [found[start : start + work.batch] for start in range(0, count, work.batch)]
    random.Random(SEED).shuffle(cut)
    return cut


def first_a(layer: str, rank: int, width: int) -> np.ndarray:
    """A of an adapted layer, (rank, width) float32, uniform in ±1/sqrt(width), by the layer's name; B is zero."""
    bound = width**-0.5
    return np.random.default_rng(zlib.crc32(layer.encode())).uniform(-bound, bound, (rank, width)).astype(np.float32)


class Stopwatch:
    """Steps one after another: `seconds` of each by the clock, and `cpu`, those of the processor in all threads, which
    say more on a busy machine."""

    def __init__(self) -> None:
        self.seconds: list[float] = []
        self.cpu: list[float] = []

    def begin(self) -> None:
        """A step begins."""
        self._began = time.perf_counter(), time.process_time()

    def end(self) -> None:
        """It is over."""
        self.seconds.append(time.perf_counter() - self._began[0])
        self.cpu.append(time.process_time() - self._began[1])


def resident(key: str) -> int:
    """A line of /proc/self/status (Linux), bytes: VmRSS is what the process holds now, VmHWM the most it ever held."""
    for line in Path("/proc/self/status").read_text(encoding="utf-8").splitlines():
        if line.startswith(f"{key}:"):
            return int(line.split()[1]) * 1024
    raise KeyError(key)


def report(
    work: Work, package: str, watch: Stopwatch, losses: list[float], sizes: list[tuple[int, int]], passed: Stopwatch,
    *, peak: int, model: int,
) -> dict[str, Any]:
    """The result, with the package's version. `watch`, `losses` and `sizes` (tokens fed without and with padding)
    are those of every step, the warm-up included; `passed` a pass of the reference over all the batches, if there was
    one; memory in bytes.

    Pairs per second, and the processor's seconds per pair, are of all steps that count: everybody has the same batches.
    """
    seconds, cpu, sizes = watch.seconds[work.warm_up :], watch.cpu[work.warm_up :], sizes[work.warm_up : work.all_steps]
    pairs = work.batch * len(seconds)
    return {
        "version": importlib.metadata.version(package),
        "pairs_per_second": pairs / sum(seconds), "cpu_per_pair": sum(cpu) / pairs,
        "pass_seconds": sum(passed.seconds), "pass_cpu": sum(passed.cpu), "seconds": seconds, "cpu": cpu,
        "losses": losses, "tokens": sum(size for size, _ in sizes) / len(sizes),
        "padded": sum(size for _, size in sizes) / len(sizes), "peak": peak, "model": model,
    }  # fmt: skip
