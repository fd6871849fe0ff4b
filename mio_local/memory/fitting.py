"""Whether a run fits this machine's memory, and the smallest change that makes it fit."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from mio_local.arrays import PAD_MULTIPLE
from mio_local.learning import TrainSettings
from mio_local.memory.estimate import estimate
from mio_local.models.shapes import Shape
from mio_local.recipe import Recipe

TIGHT = 0.8  # share of the free memory above which a run is tight: an estimate is within a quarter
WIRED = 0.75  # share of unified memory that macOS lets a GPU use
SHORTEST = 128  # tokens: no shorter rows are proposed
MOST_PARTS = 1024  # into which a batch is cut at most: any number can be typed
STEP = 64  # tokens between the proposed lengths


def available(kind: str, gpu: int = 0, meminfo: Path = Path("/proc/meminfo")) -> int:
    """Bytes free for a run on a device of `kind` (gpu or cpu), `gpu` being its number; 0 where that is unknown."""
    if kind == "gpu" and sys.platform != "darwin":
        return _gpu_memory(gpu)
    if sys.platform == "darwin":
        share = WIRED if kind == "gpu" else 1
        return int(share * os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    try:
        lines = meminfo.read_text(encoding="ascii").splitlines()
    except (OSError, UnicodeDecodeError):
        return 0
    fields = dict(line.split(":", 1) for line in lines if ":" in line)
    words = fields.get("MemAvailable", "").split()
    return int(words[0]) * 1024 if words and words[0].isdigit() else 0


def allowed(recipe: Recipe, kind: str, most: int = 0) -> int:
    """Bytes that a run may use: its memory limit, else what is free, of which a device lets a program have `most` where
    that is known; 0 where there is no bound, or none is known."""
    limit, (_, _, number) = recipe.backend.memory_limit, recipe.backend.device.partition(":")
    if limit == "none":
        return 0
    if limit != "auto":
        return round(float(limit) * 1e9)
    free = available(kind, int(number) if number.isdigit() else 0)
    return min(free or most, most or free)


def resident() -> int:
    """Bytes of memory that this process holds; 0 where the system does not tell."""
    try:
        return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return 0


def _gpu_memory(gpu: int) -> int:
    """Free bytes of an NVIDIA GPU, as its driver tells, which numbers those too that this process does not see."""
    seen = os.environ.get("CUDA_VISIBLE_DEVICES")
    names = [name.strip() for name in seen.split(",")] if seen is not None else []
    name = str(gpu) if seen is None else names[gpu] if gpu < len(names) else ""
    if not name or not (tool := shutil.which("nvidia-smi")):
        return 0
    query = [tool, f"--id={name}", "--query-gpu=memory.free", "--format=csv,noheader,nounits"]
    try:
        answer = subprocess.run(query, capture_output=True, text=True, timeout=5, check=True).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return 0
    return int(answer) << 20 if answer.isdigit() else 0  # MiB


def fits(needed: int, free: int) -> Literal["yes", "tight", "no"]:
    """Whether `needed` bytes fit into `free`; tight above four fifths of them."""
    if needed > free:
        return "no"
    return "tight" if needed > TIGHT * free else "yes"


def _smaller(train: TrainSettings) -> Iterator[tuple[str, dict[str, int]]]:
    """Smaller passes over the same pairs, the largest first: each in words, and the keys that change."""
    tokens = train.pass_size.tokens
    while (tokens := tokens // 2) >= PAD_MULTIPLE:
        yield f"batch_tokens {train.batch_tokens} -> {tokens}", {"batch_tokens": tokens}
    if train.batch_tokens:
        return
    for parts in range(2, min(train.batch_size, MOST_PARTS) + 1):
        size, times = train.batch_size // parts, train.accumulate * parts
        if train.batch_size % parts == 0:
            words = f"batch {train.batch_size} -> {size} with accumulate x{times}"
            yield words, {"batch_size": size, "accumulate": times}


def remedy(
    shape: Shape, recipe: Recipe, longest: int, backend: str, kind: str, free: int, pair: int = 0, prompt: int = 0,
    answers: int = 2,
) -> str:  # fmt: skip
    """The smallest single change with which the run fits into `free` bytes, as `batch 4 -> 1 with accumulate x4`.

    Empty where it fits as it is, and where no single change is enough. Smaller passes come first, as they train the
    same, though on a CPU, which takes a batch part by part, they may save nothing; then checkpointing, which costs
    time; then shorter rows, which cut answers, but are longer than the longest prompt, of `prompt` tokens.
    `longest`, `pair` and `answers` are as for the estimate; in shorter rows the answers are taken to keep their share.
    """

    def fit(section: str, tokens: int = longest, **keys: int) -> bool:
        table = getattr(recipe, section).model_copy(update=keys)
        changed = recipe.model_copy(update={section: table})
        return estimate(shape, changed, tokens, backend, kind, pair * tokens // longest, answers).total <= free

    train = recipe.train
    if fit("train"):
        return ""
    for words, keys in _smaller(train):
        if fit("train", **keys):
            return words
    if not train.grad_checkpoint and fit("train", grad_checkpoint=True):
        return "grad_checkpoint on"
    shortest = SHORTEST if recipe.data.long_prompt == "cut" else max(SHORTEST, prompt + 1)
    for tokens in range((longest - 1) // STEP * STEP, shortest - 1, -STEP):
        if fit("data", tokens, max_tokens=tokens):
            return f"max_tokens {recipe.data.max_tokens} -> {tokens}"
    return ""
