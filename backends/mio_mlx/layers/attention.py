"""Attention by plain operations, the same for what is scored and for what is differentiated.

MLX has a fused kernel, which on Metal it takes only where no gradient is wanted; in 16 bits the two differ by some
tenths of a nat an answer, and the reference would begin apart from the policy. On a CPU there is no such kernel, and
the softmax that is kept here is not computed again for the gradient.
"""

from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import mlx.core as mx

from mio_local.data.collate import Spans
from mio_mlx.cpu_microbatches import on_cpu
from mio_mlx.patching import replaced

BLOCK = 512  # queries of a block: what they do not see of a row is not computed for them
NAME = "scaled_dot_product_attention"  # as mlx-lm's models import it, and as MLX has it


def attend(
    queries: mx.array, keys: mx.array, values: mx.array, scale: float, mask: mx.array | None,
    sinks: mx.array | None = None,
) -> mx.array:  # fmt: skip
    """Attention of (n, heads, T, width) to (n, key heads, S, width), each key head for as many heads: softmax(s q k')
    v, the softmax in float32. `mask`, that of (n or 1, heads or 1, T, S) or its last axes, is of what is seen, or is
    added; `sinks` (heads,) are scores of nothing."""
    (n, heads, length, _), groups = queries.shape, keys.shape[1]
    grouped = (scale * queries).reshape(n, groups, heads // groups, length, -1)
    scores = grouped @ keys[:, :, None].swapaxes(-1, -2)
    if mask is not None:
        if mask.ndim > 2:
            mask = mask.reshape(-1, *mask.shape[-3:])
            mask = mask[:, :, None] if mask.shape[1] == 1 else mask.reshape(-1, *scores.shape[1:3], *mask.shape[2:])
        scores = mx.where(mask, scores, -mx.inf) if mask.dtype == mx.bool_ else scores + mask
    if sinks is None:
        weights = mx.softmax(scores, axis=-1, precise=True)
    else:
        nothing = sinks.astype(scores.dtype).reshape(1, groups, -1, 1, 1)
        nothing = mx.broadcast_to(nothing, (*scores.shape[:-1], 1))
        weights = mx.softmax(mx.concatenate([nothing, scores], axis=-1), axis=-1, precise=True)[..., 1:]
    return (weights @ values[:, :, None]).reshape(n, heads, length, -1)


def unfused(
    queries: mx.array, keys: mx.array, values: mx.array, *, scale: float, mask: Any = None, sinks: Any = None
) -> mx.array:
    """`mx.fast.scaled_dot_product_attention`, whose mask may be the word causal too."""
    if not isinstance(mask, str):
        return attend(queries, keys, values, scale, mask, sinks)
    length, before = queries.shape[2], keys.shape[2] - queries.shape[2]
    blocks: list[mx.array] = []
    for first in range(0, length, BLOCK):
        last = min(first + BLOCK, length)
        seen = mx.arange(before + first, before + last)[:, None] >= mx.arange(before + last)[None]
        k, v = keys[:, :, : before + last], values[:, :, : before + last]
        blocks.append(attend(queries[:, :, first:last], k, v, scale, seen, sinks))
    return mx.concatenate(blocks, axis=2)


@dataclass(frozen=True)
class Piece:
    """The queries of the columns from `begin` to `end`, and the columns `seen` that are all they see, from and to."""

    begin: int
    end: int
    seen: tuple[tuple[int, int], ...]


def pieces(spans: Spans, length: int) -> list[Piece]:
    """Shared rows [prompt | chosen | rejected | others] in pieces that all rows of a batch have: up to where the last
    chosen answer ends, to where the last of the second ones ends, and so on.

    From the first column on, all that comes before is seen; in an answer after the chosen one, the prompt is, and what
    comes after the first column that such an answer has in any row.
    """
    prompt, ends = int(spans.prompt.max()), spans.ends
    found: list[Piece] = []
    begin = 0
    for number in range(spans.answers):
        end = length if number == spans.answers - 1 else max(begin, int(ends[number + 1].max()))
        own = int(ends[number].min()) if number else 0
        for first in range(begin, end, BLOCK):
            last = min(first + BLOCK, end)
            found.append(Piece(first, last, ((0, last),) if own <= prompt else ((0, prompt), (own, last))))
        begin = end
    return found


@contextmanager
def one_path() -> Generator[None]:
    """On a GPU, MLX's fused kernel is not taken, whether a gradient is wanted or not. On a CPU there is none."""
    with replaced([] if on_cpu() else [mx.fast], NAME, lambda _: unfused):
        yield
