"""Pairs a second from a file to tokens, beside TRL's own tokenising (`datasets.map`) of the same file.

    python tests/bench/tokenising.py MODEL [--pairs 100000] [--trl-pairs 20000]

The pairs are sums in words, each another one, read from JSONL into an empty cache; with the second line of ours all is
found there. TRL is asked for what its DPOTrainer does before a training, in one process and in one for each core.
"""

import argparse
import json
import os
import random
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any


def rows(count: int, conversational: bool) -> Iterator[dict[str, Any]]:
    """Right and wrong sums; as TRL reads them, in messages."""
    rng = random.Random(0)
    for number in range(count):
        one, two = rng.randrange(1000), rng.randrange(1000)
        asked = f"What is {one} plus {two}? ({number})"
        good, bad = f"It is {one + two}.", f"It is {one - two}, I think."
        if not conversational:
            yield {"prompt": asked, "chosen": good, "rejected": bad}
            continue
        answers = ([{"role": "assistant", "content": text}] for text in (good, bad))
        yield dict(zip(("prompt", "chosen", "rejected"), ([{"role": "user", "content": asked}], *answers), strict=True))


def written(folder: Path, count: int, conversational: bool) -> str:
    file = folder / f"{count}-{conversational}.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows(count, conversational)), encoding="utf-8")
    return str(file)


def ours(file: str, model: str) -> None:
    from mio_local.data.encoding import encode
    from mio_local.data.pairs import load_pairs
    from mio_local.data.template import Chat
    from mio_local.data.tokenizer import load_tokenizer
    from mio_local.recipe import DataSettings, ModelSettings

    chat = Chat(load_tokenizer(ModelSettings(name=model)), now=0.0)
    encode(load_pairs(file, DataSettings()), chat, DataSettings())


def trl(file: str, model: str, processes: int) -> None:
    from datasets import load_dataset
    from transformers import AutoTokenizer
    from trl import DPOConfig, DPOTrainer

    tokenizer = AutoTokenizer.from_pretrained(model)
    asked = DPOConfig(dataset_num_proc=processes if processes > 1 else None, use_cpu=True, output_dir=f"{file}.out")
    with tempfile.TemporaryDirectory() as cache:
        pairs = load_dataset("json", data_files=file, split="train", cache_dir=cache)
        DPOTrainer._prepare_dataset(SimpleNamespace(_tokenizer=tokenizer), pairs, tokenizer, asked, "train")  # pyright: ignore


def timed(name: str, pairs: int, work: Callable[[], None]) -> None:
    began = time.perf_counter()
    work()
    spent = time.perf_counter() - began
    print(f"| {name} | {pairs:,} | {spent:.1f} s | {pairs / spent:,.0f} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("model")
    parser.add_argument("--pairs", type=int, default=100_000)
    parser.add_argument("--trl-pairs", type=int, default=20_000)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as home:
        os.environ["MIO_LOCAL_CACHE"] = f"{home}/cache"
        file = written(Path(home), given.pairs, False)
        print("| read and tokenised by | pairs | time | pairs a second |\n|---|---|---|---|")
        timed("mio-local, the first time", given.pairs, lambda: ours(file, given.model))
        timed("mio-local, from its cache", given.pairs, lambda: ours(file, given.model))
        file = written(Path(home), given.trl_pairs, True)
        for processes in (1, os.cpu_count() or 1):
            timed(f"TRL, {processes} process{'es' if processes > 1 else ''}", given.trl_pairs,
                  lambda many=processes: trl(file, given.model, many))  # fmt: skip


if __name__ == "__main__":
    main()
