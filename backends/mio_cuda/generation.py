"""What a model answers, and how likely it finds given answers."""

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from transformers import GenerationConfig

from mio_cuda.head import Head
from mio_cuda.xp import XP
from mio_local.arrays import token_logps
from mio_local.data.loglikelihood import Fed


def generate(
    model: Any, device: torch.device, prompts: Sequence[Sequence[int]], max_tokens: int, stop: Sequence[int],
    temperature: float, seed: int, *, ends: bool,
) -> list[list[int]]:  # fmt: skip
    """As `Model.generate`, of the adapter that is set."""
    config = GenerationConfig(
        max_new_tokens=max_tokens, do_sample=False, eos_token_id=list(stop), pad_token_id=0, use_cache=True
    )
    if temperature:  # from the whole distribution: transformers would keep the 50 likeliest tokens
        config.update(do_sample=True, temperature=temperature, top_k=0, top_p=1.0)
    longest = max(len(prompt) for prompt in prompts)
    # padded on the left, so that every answer begins at the same column
    rows = [[0] * (longest - len(prompt)) + list(prompt) for prompt in prompts]
    seen = [[0] * (longest - len(prompt)) + [1] * len(prompt) for prompt in prompts]
    with torch.random.fork_rng([device] if device.type == "cuda" else [], enabled=bool(temperature)):
        if temperature:
            torch.manual_seed(seed)
        out = model.generate(
            input_ids=torch.tensor(rows, device=device),
            attention_mask=torch.tensor(seen, device=device),
            generation_config=config,
        )
    return [_answer(row, stop, ends=ends) for row in out[:, longest:].tolist()]


def _answer(row: list[int], stop: Sequence[int], *, ends: bool) -> list[int]:
    answer = list(itertools.takewhile(lambda token: token not in stop, row))
    return row[: len(answer) + 1] if ends else answer


@torch.no_grad()
def score(head: Head, device: torch.device, fed: Fed) -> tuple[np.ndarray, np.ndarray]:
    """log p of the targets, float32, and the likeliest tokens: the head sees the positions that predict them alone."""
    inputs, where, targets = (
        torch.from_numpy(array.astype(np.int64)).to(device) for array in (fed.inputs, fed.where, fed.targets)
    )
    hidden = head.hidden(input_ids=inputs).flatten(0, 1).index_select(0, where)
    logps, best = [], []
    for part in head.parts(len(where)):
        logits = head.logits(hidden[part])
        logps.append(token_logps(XP, logits, targets[part]))
        best.append(logits.argmax(-1))
    return torch.cat(logps).cpu().numpy(), torch.cat(best).cpu().numpy()
