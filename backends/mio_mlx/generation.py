"""What a model answers, and how likely it finds given answers."""

from collections.abc import Sequence
from typing import Any

import mlx.core as mx
import numpy as np
from mlx_lm.generate import BatchGenerator
from mlx_lm.models.cache import make_prompt_cache
from mlx_lm.sample_utils import make_sampler

from mio_local.arrays import token_logps
from mio_local.data.loglikelihood import Fed
from mio_local.sampling import Draws, Sampling, Told
from mio_mlx.head import Head
from mio_mlx.stream_generate import drawn
from mio_mlx.xp import XP

PREFILL = 2048  # tokens of a prompt that go through the model at once, as in mlx-lm


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


def draw(
    model: Any, prompts: Sequence[Sequence[int]], draws: Draws, stop: Sequence[int], told: Told
) -> list[list[list[int]]]:
    """As `Model.draw`, of the adapter that is set, with MLX's random state as it is. Answers that end make room for
    others; these come in a quarter of the rows at a time, as each time the caches are copied."""
    answers: list[list[list[int]]] = [[[] for _ in range(draws.answers)] for _ in prompts]
    places = draws.places([len(prompt) for prompt in prompts])
    samplers = {kind: _sampler(kind, draws.top_p) for kind in draws.temperatures}
    generator = BatchGenerator(
        model, max_tokens=draws.max_tokens, stop_tokens=[[token] for token in stop],
        completion_batch_size=draws.rows, prefill_batch_size=draws.rows,
        stream=mx.default_stream(mx.default_device()),
    )  # fmt: skip
    drawing: dict[int, list[int]] = {}
    begun = done = tokens = 0
    known, cache = -1, []
    try:
        while done < len(places):
            if len(drawing) <= draws.rows * 3 // 4:
                for prompt, answer in places[begun : begun + draws.rows - len(drawing)]:
                    if prompt != known:
                        known, cache = prompt, _prefilled(model, prompts[prompt])
                    sampler = samplers[draws.temperature(answer)]
                    [uid] = generator.insert([[prompts[prompt][-1]]], caches=[cache], samplers=[sampler])
                    drawing[uid] = answers[prompt][answer]
                    begun += 1
            for response in generator.next_generated():
                drawing[response.uid].append(int(response.token))
                tokens += 1
                if response.finish_reason is not None:
                    del drawing[response.uid]
                    done += 1
            told(done, tokens)
    finally:
        generator.close()
    return answers


def _sampler(temperature: float, top_p: float) -> Any:
    sampling = Sampling(temperature=temperature, top_p=top_p)
    return lambda logprobs: drawn(logprobs, sampling)


def _prefilled(model: Any, prompt: Sequence[int]) -> list[Any]:
    """The cache of a prompt but for its last token; those who merge it into theirs copy it."""
    cache = make_prompt_cache(model)
    for first in range(0, len(prompt) - 1, PREFILL):
        model(mx.array([list(prompt[first : min(first + PREFILL, len(prompt) - 1)])]), cache=cache)
        mx.eval([layer.state for layer in cache])
    return cache


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
