"""Attention of shared rows [prompt | chosen | rejected | others] in the pieces that it has, where a model allows it.

The first piece is causal, prompt and chosen answer; in the others a rejected answer sees the prompt and itself. With a
mask over the whole row, more than half of the scores would be computed to be thrown away.
"""

import mlx.core as mx

BLOCK = 512  # queries of a block
NAME = "scaled_dot_product_attention"  # as mlx-lm's models import it


def causal(queries: mx.array, keys: mx.array, values: mx.array, scale: float, window: int, *, fused: bool) -> mx.array:
    """Attention of (1, heads, T, width) to (1, key heads, S, width) of which the last T are its own; a query sees at
    most `window` keys back where that is not 0.

    MLX's fused kernel computes the scores' softmax again for the gradient. On a CPU, where exponentials are dear, it is
    kept, and taken of few that a query does not see: queries go in blocks.
    """
    length, seen = queries.shape[2], keys.shape[2]
    bound = 0 < window < seen
    if fused and not bound:
        return mx.fast.scaled_dot_product_attention(queries, keys, values, scale=scale, mask="causal")
    back = mx.arange(seen - length, seen)[:, None] - mx.arange(seen)[None]
    mask = (back >= 0) & (back < window) if bound else back >= 0
    if fused:
        return mx.fast.scaled_dot_product_attention(queries, keys, values, scale=scale, mask=mask)
    if length > BLOCK:
        blocks: list[mx.array] = []
        for first in range(0, length, BLOCK):
            last = min(first + BLOCK, length)
            begin, end = max(0, seen - length + first - window + 1) if window else 0, seen - length + last
            q, k, v = queries[:, :, first:last], keys[:, :, begin:end], values[:, :, begin:end]
            blocks.append(causal(q, k, v, scale, window, fused=False))
        return mx.concatenate(blocks, axis=2)
    heads, groups = queries.shape[1], keys.shape[1]
    grouped = (scale * queries).reshape(groups, heads // groups, length, -1)
    scores = mx.where(mask, grouped @ keys.reshape(groups, 1, seen, -1).swapaxes(-1, -2), -mx.inf)
    out = mx.softmax(scores, axis=-1, precise=True) @ values.reshape(groups, 1, seen, -1)
    return out.reshape(1, heads, length, -1)
