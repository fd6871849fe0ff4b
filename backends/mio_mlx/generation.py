"""What a model answers, and how likely it finds given answers."""

from collections.abc import Sequence
from typing import Any

import mlx.core as mx
import numpy as np
from mlx_lm.generate import BatchGenerator
from mlx_lm.sample_utils import make_sampler

from mio_local.arrays import token_logps
from mio_local.data.loglikelihood import Fed
from mio_mlx.head import Head
from mio_mlx.xp import XP


def generate(
    model: Any, prompts: Sequence[Sequence[int]], max_tokens: int, stop: Sequence[int], temperature: float, *,
    ends: bool,
) -> list[list[int]]:  # fmt: skip
    """As `Model.generate`, of the adapter that is set, with MLX's random state as it is."""
    stops = [[token] for token in stop]
    generator = BatchGenerator(model, max_tokens=max_tokens, stop_tokens=stops, sampler=make_sampler(temperature))
    try:
        answers: dict[int, list[int]] = {uid: [] for uid in generator.insert([list(ids) for ids in prompts])}
        while responses := generator.next_generated():
            for response in responses:
                if ends or response.finish_reason != "stop":
                    answers[response.uid].append(int(response.token))
    finally:
        generator.close()
    return list(answers.values())


def score(model: Any, head: Head, fed: Fed) -> tuple[np.ndarray, np.ndarray]:
    """log p of the targets, float32, and the likeliest tokens: where the model has a trunk of its own, the head sees
    the positions that predict them alone."""
    inputs, where, targets = (mx.array(array) for array in (fed.inputs, fed.where, fed.targets))
    if head.refusal:
        hidden = model(inputs).flatten(0, 1)[where]
        parts = [slice(0, len(targets))]
    else:
        hidden = head.trunk(inputs).flatten(0, 1)[where]  # type: ignore[misc]
        parts = head.parts(hidden, len(targets))
    logps: list[np.ndarray] = []
    best: list[np.ndarray] = []
    for part in parts:
        logits = hidden[part].astype(mx.float32) if head.refusal else head.logits(hidden[part])
        found = token_logps(XP, logits, targets[part]), logits.argmax(-1)
        mx.eval(found)
        logps.append(np.array(found[0]))
        best.append(np.array(found[1]))
    return np.concatenate(logps), np.concatenate(best)
