"""How fast several answers to each of some prompts are drawn, beside the libraries' own batches, and in what memory.

    python -m tests.bench.sampling --model DIR --prompts FILE --backend mlx|cuda [--times 3]
    python -m tests.bench.sampling --model DIR --prompts FILE --backend mlx|cuda --memory

The library is given every prompt K times. Both are timed in turn, by the clock and by the processors' time, which other
work on the machine disturbs less; tokens a second, as no two draw answers of the same lengths.
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path

from mio_local.backends import load_backend
from mio_local.data.tokenise import chat_of
from mio_local.learning import MakeSettings
from mio_local.making.drawing import chunks, draws_of
from mio_local.recipe import DataSettings, ModelSettings
from mio_local.sampling import Draws

ROWS = 32  # mlx-lm's own number


def quiet(done: int, tokens: int) -> None:
    """Nothing is told."""


def library(backend: str, folder: Path, model, prompts, stop, answers: int, tokens: int) -> int:
    """Tokens that mlx_lm.batch_generate or transformers' generate draws to the prompts."""
    asked = [prompt for prompt in prompts for _ in range(answers)]
    if backend == "mlx":
        from mlx_lm import batch_generate
        from mlx_lm.sample_utils import make_sampler
        from mlx_lm.utils import load_tokenizer

        found = batch_generate(
            model.model, load_tokenizer(folder), [list(prompt) for prompt in asked], max_tokens=tokens,
            sampler=make_sampler(1.0), completion_batch_size=ROWS, return_token_ids=True,
        )  # fmt: skip
        return sum(map(len, found.token_ids)) + len(asked)  # an end each; less where an answer was cut
    import torch

    drawn = 0
    for first in range(0, len(asked), ROWS):
        some = asked[first : first + ROWS]
        longest = max(map(len, some))
        rows = torch.tensor([[0] * (longest - len(one)) + list(one) for one in some])
        out = model.model.generate(
            input_ids=rows, attention_mask=(rows != 0).long(), max_new_tokens=tokens, do_sample=True, temperature=1.0,
            top_k=0, eos_token_id=list(stop), pad_token_id=0,
        )  # fmt: skip
        for row in out[:, longest:].tolist():
            drawn += next((place + 1 for place, token in enumerate(row) if token in stop), len(row))
    return drawn


def timed(work: Callable[[], int]) -> tuple[float, float]:
    """Tokens a second, by the clock and by the processors' time."""
    wall, used = time.perf_counter(), time.process_time()
    tokens = work()
    return tokens / (time.perf_counter() - wall), tokens / (time.process_time() - used)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", required=True)
    parser.add_argument("--prompts", required=True)
    parser.add_argument("--backend", default="mlx")
    parser.add_argument("--answers", type=int, default=8)
    parser.add_argument("--count", type=int, default=16)
    parser.add_argument("--tokens", type=int, default=128)
    parser.add_argument("--times", type=int, default=3)
    parser.add_argument("--memory", action="store_true", help="the peak of drawing --count prompts, chunk by chunk")
    arguments = parser.parse_args()
    folder, settings = Path(arguments.model), ModelSettings(name=arguments.model)
    chat = chat_of(settings, DataSettings(), folder)
    lines = Path(arguments.prompts).read_text(encoding="utf-8").splitlines()
    texts = [json.loads(line)["prompt"] for line in lines]
    prompts = [chat.generation_prompt(texts[number % len(texts)]) for number in range(arguments.count)]
    stop = sorted(chat.end_ids)
    model = load_backend(arguments.backend).load(folder, settings, "cpu", grad_checkpoint=False, seed=0)
    if arguments.memory:
        before = model.memory().peak
        make = MakeSettings(answers=arguments.answers, answer_tokens=arguments.tokens, rows=ROWS)
        for chunk in chunks(prompts, make):
            model.draw(chunk.prompts, draws_of(make, 0, chunk.number), stop, quiet, reference=False)
        print(f"{arguments.backend}: K {arguments.answers}, {arguments.count} prompts, {arguments.tokens} tokens: "
              f"peak {model.memory().peak / 1e6:.0f} MB, {before / 1e6:.0f} MB once loaded")  # fmt: skip
        return
    draws = Draws(arguments.answers, max_tokens=arguments.tokens, rows=ROWS)
    sides: dict[str, list[tuple[float, float]]] = {"ours": [], "library": []}
    for _ in range(arguments.times):
        sides["ours"].append(timed(lambda: sum(
            len(answer) for answers in model.draw(prompts, draws, stop, quiet, reference=False) for answer in answers
        )))  # fmt: skip
        sides["library"].append(timed(
            lambda: library(arguments.backend, folder, model, prompts, stop, arguments.answers, arguments.tokens)
        ))  # fmt: skip
    for side, found in sides.items():
        clock, processors = (statistics.median(values) for values in zip(*found, strict=True))
        print(f"{arguments.backend} {side}: {clock:.0f} tokens/s, {processors:.0f} a processor's second")
    ratios = [ours[1] / theirs[1] for ours, theirs in zip(sides["ours"], sides["library"], strict=True)]
    clocks = [ours[0] / theirs[0] for ours, theirs in zip(sides["ours"], sides["library"], strict=True)]
    print(f"{arguments.backend} ours / library: {statistics.median(clocks):.2f} by the clock ({min(clocks):.2f} to "
          f"{max(clocks):.2f}), {statistics.median(ratios):.2f} by processors' time")  # fmt: skip


if __name__ == "__main__":
    main()
