"""One answer, token by token, as mlx-lm draws it."""

from collections.abc import Callable, Sequence
from typing import Any

import mlx.core as mx
from mlx_lm.generate import generate_step
from mlx_lm.sample_utils import make_logits_processors, make_sampler

from mio_local.sampling import Sampling


def stream(
    model: Any, prompt: Sequence[int], sampling: Sampling, stop: Sequence[int], told: Callable[[int], bool]
) -> None:
    """`mio_local.backend.Model.stream` of the model as it is."""
    mx.random.seed(sampling.seed)
    steps = generate_step(
        mx.array(list(prompt)),
        model,
        max_tokens=sampling.max_tokens,
        sampler=make_sampler(sampling.temperature, sampling.top_p, sampling.min_p, top_k=sampling.top_k),
        logits_processors=make_logits_processors(repetition_penalty=sampling.repetition_penalty),
    )
    for token, _ in steps:
        if int(token) in stop or not told(int(token)):
            return
