"""RWKV-7's recurrence with a gradient, in chunks: mlx-lm computes it by a Metal kernel that has none, or by token.

Peng et al., RWKV-7 "Goose" (arXiv 2503.14456), equation 17, as mlx-lm names its parts: with a state S, decays w and
vectors a, b, k, r of a head's width, and values v,

    S_t = S_{t-1} diag(w_t) + (S_{t-1} a_t) b_t' + v_t k_t'        y_t = S_t r_t

In a chunk that begins with S, let G_ti be the decay from token i to token t in each place, and G_t that from the start.
Then u_t = S_{t-1} a_t are

    (I - A) U = B V + (G_{t-1} a) S',   A_ti = a_t' G_{t-1,i} b_i, B_ti = a_t' G_{t-1,i} k_i for i < t
    Y = (G r) S' + (r_t' G_ti b_i for i <= t) U + (r_t' G_ti k_i for i <= t) V
"""

from typing import Any

import mlx.core as mx

from mio_mlx.layers.chunks import (
    Chunk,
    by_chunks,
    by_head,
    chunk_size,
    decay_between,
    decayed_products,
    log_decay,
    unit_lower_inverse,
)


def wkv7(
    _: Any, r: mx.array, w: mx.array, k: mx.array, v: mx.array, a: mx.array, b: mx.array, state: mx.array | None
) -> Chunk:
    """In the place of mlx-lm's method of a layer: outputs (B, T, H, D) in the type of `r`, and the last state
    (B, H, D, D) in float32. All but the state are (B, T, H, D)."""
    batch, length, heads, width = r.shape
    state = mx.zeros((batch, heads, width, width)) if state is None else state.astype(mx.float32)
    size = chunk_size(length, vector=True)
    rows = [by_head(x, size) for x in (r, log_decay(w), k, v, a, b)]
    outputs, state, _ = by_chunks(_chunk, size)(*rows, state)
    return outputs[:, :, :length].swapaxes(1, 2).astype(r.dtype), state


def _chunk(
    r: mx.array, decay: mx.array, k: mx.array, v: mx.array, a: mx.array, b: mx.array, state: mx.array
) -> Chunk:
    """The outputs (B, H, C, D) of one chunk, and the state after it."""
    between = decay_between(decay)  # (B, H, C, C, D)
    earlier = mx.pad(between[:, :, :-1], [(0, 0), (0, 0), (1, 0), (0, 0), (0, 0)])  # to the token before
    from_start = mx.exp(mx.cumsum(decay, axis=2))
    from_start_before = mx.exp(mx.cumsum(decay, axis=2) - decay)
    before = state.swapaxes(-1, -2)
    inverse = unit_lower_inverse(-decayed_products(a, b, earlier))
    removed = inverse @ (decayed_products(a, k, earlier) @ v + (from_start_before * a) @ before)
    out = (from_start * r) @ before + decayed_products(r, b, between) @ removed + decayed_products(r, k, between) @ v
    last = between[:, :, -1]
    after = from_start[:, :, -1][..., None, :] * state
    return out, after + removed.swapaxes(-1, -2) @ (last * b) + v.swapaxes(-1, -2) @ (last * k)
