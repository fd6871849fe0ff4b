"""One answer, token by token, as mlx-lm draws it."""

from collections.abc import Callable, Sequence
from typing import Any

import mlx.core as mx
from mlx_lm.generate import generate_step
from mlx_lm.sample_utils import apply_min_p, apply_top_k, apply_top_p, make_repetition_penalty

from mio_local.sampling import Sampling

ALL = 2**31 - 1  # tokens: the penalty is for those of the prompt and the answer


def stream(
    model: Any, prompt: Sequence[int], sampling: Sampling, stop: Sequence[int], told: Callable[[int], bool]
) -> None:
    """`mio_local.backends.Model.stream` of the model as it is."""
    mx.random.seed(sampling.seed)
    penalty = sampling.repetition_penalty
    steps = generate_step(
        mx.array(list(prompt)),
        model,
        mx.default_stream(mx.default_device()),  # mlx-lm's own is of the device that was the default at its import
        max_tokens=sampling.max_tokens,
        sampler=lambda logprobs: drawn(logprobs, sampling),
        logits_processors=[make_repetition_penalty(penalty, ALL)] if penalty != 1 else None,
    )
    for token, _ in steps:
        if int(token) in stop or not told(int(token)):
            return


def drawn(logprobs: mx.array, sampling: Sampling) -> mx.array:
    """The next token. mlx-lm's sampler cuts before it applies the temperature; this is transformers' order."""
    if sampling.temperature == 0:
        return mx.argmax(logprobs, axis=-1)
    logprobs = logprobs.astype(mx.float32)
    logprobs = (logprobs - logprobs.max()) / sampling.temperature  # from 0 down: their exponentials are not all zero
    if 0 < sampling.top_k < logprobs.shape[-1]:
        logprobs = apply_top_k(logprobs, sampling.top_k)
    if sampling.top_p < 1:
        logprobs = apply_top_p(logprobs, sampling.top_p)
    if sampling.min_p > 0:
        logprobs = apply_min_p(logprobs, sampling.min_p)
    return mx.random.categorical(logprobs)
