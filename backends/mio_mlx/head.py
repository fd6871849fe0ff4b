"""Log-probs of the answers' tokens without the logits of all others: the model's own head, on chosen positions.

The loss depends on a hidden state h_t by its token's log-prob alone, so its gradient there is a number times
g_t = d log p_t / d h_t. Both are computed part by part in the forward pass, and only log p_t and g_t are kept: no
logits live on, and none are computed twice.
"""

from collections.abc import Callable, Sequence
from typing import Any

import mlx.core as mx

from mio_mlx.cpu_microbatches import on_cpu
from mio_mlx.layers.activation import exp, total
from mio_mlx.linears import block_prefix
from mio_mlx.patching import replace_calls

CPU_PART, GPU_PART = 2**22, 2**25  # logits in one part: 16 MB in float32 on a CPU


class Head:
    """What a language model does after its trunk: logits of given hidden states, soft caps and scales included."""

    def __init__(self, model: Any) -> None:
        self.model = model
        name = block_prefix(model).removesuffix(".layers.")
        self.trunk = dict(model.named_modules()).get(name)
        self.refusal = "" if self.trunk is not None and name else "its blocks are not in a trunk of their own"
        self.size = CPU_PART if on_cpu() else GPU_PART
        self._given: mx.array | None = None
        if not self.refusal:
            replace_calls([self.trunk], self._call)

    def _call(self, cls: Any) -> Callable[..., Any]:
        switch = self

        def call(module: Any, *args: Any, **kwargs: Any) -> Any:
            return cls.__call__(module, *args, **kwargs) if switch._given is None else switch._given

        return call

    def logits(self, hidden: mx.array) -> mx.array:
        """float32 logits (T, V) of hidden states (T, width): the model's own call with its trunk's answer given."""
        self._given = hidden[None]
        try:
            return self.model(mx.zeros((1, len(hidden)), mx.int32))[0].astype(mx.float32)
        finally:
            self._given = None

    def answer_logps(
        self, inputs: mx.array, cache: Any, where: mx.array, targets: mx.array, streams: Sequence[mx.Stream], *,
        gradient: bool,
    ) -> mx.array:  # fmt: skip
        """log p of the tokens `targets` (T,) predicted at `where` (T,) in the flattened `inputs`, float32."""
        hidden = self.trunk(inputs, cache).flatten(0, 1)[where]  # type: ignore[misc]
        parts = self.parts(hidden, len(targets))
        if not gradient:
            (logps,) = _in_turn(lambda rows, part: (self._logps(rows, targets[part]),), hidden, parts, streams)
            return mx.concatenate(logps)

        def forward(hidden: mx.array) -> tuple[mx.array, mx.array]:
            logps, slopes = _in_turn(lambda rows, part: self._slopes(rows, targets[part]), hidden, parts, streams)
            return mx.concatenate(logps), mx.concatenate(slopes)

        def backward(_: Any, cotangents: Any, outputs: Any) -> mx.array:
            return cotangents[0][:, None].astype(outputs[1].dtype) * outputs[1]

        scored: Any = mx.custom_function(forward)
        scored.vjp(backward)
        return scored(hidden)[0]

    def _logps(self, hidden: mx.array, targets: mx.array) -> mx.array:
        return _picked(self.logits(hidden), targets)[0]

    def _slopes(self, hidden: mx.array, targets: mx.array) -> tuple[mx.array, mx.array]:
        """log p_t and g_t."""
        (found,), (slope,) = mx.vjp(lambda h: self._logps(h, targets), [hidden], [mx.ones(len(targets))])
        return found, slope

    def parts(self, hidden: mx.array, count: int) -> list[slice]:
        """`count` hidden states in parts of bounded logits."""
        size = max(1, self.size // self.logits(hidden[:1]).shape[-1])
        return [slice(first, min(first + size, count)) for first in range(0, count, size)]


def _pick(logits: mx.array, targets: mx.array) -> tuple[mx.array, mx.array]:
    """log p of each row's target, (T,), and the softmax of logits (T, V), its exponentials taken once for both."""
    top = logits.max(-1, keepdims=True)
    powers = exp(logits - top)
    sums = total(powers)
    picked = mx.take_along_axis(logits, targets[:, None], -1)
    return (picked - top - mx.log(sums))[:, 0], powers / sums


def _pick_vjp(primals: Any, cotangents: Any, outputs: Any) -> tuple[mx.array, mx.array]:
    targets, grad = primals[1], cotangents[0]
    slope = (outputs[1] * -grad[:, None]).at[mx.arange(len(grad)), targets].add(grad)
    return slope, mx.zeros_like(targets)


_picked: Any = mx.custom_function(_pick)
_picked.vjp(_pick_vjp)


def _in_turn(
    scored: Callable[[mx.array, slice], tuple[mx.array, ...]], hidden: mx.array, parts: list[slice],
    streams: Sequence[mx.Stream],
) -> list[list[mx.array]]:  # fmt: skip
    """What `scored` gives for each part, by result. A part waits for the one before it in its stream, so that no
    more logits are alive than there are streams."""
    found: list[tuple[mx.array, ...]] = []
    for number, part in enumerate(parts):
        with mx.stream(streams[number % len(streams)]):
            rows = hidden[part]
            if number >= len(streams):
                (rows,) = mx.depends([rows], list(found[number - len(streams)]))
            found.append(scored(rows, part))
    return [list(arrays) for arrays in zip(*found, strict=True)]
