"""The gated delta rule with a gradient, in chunks: mlx-lm computes it by a Metal kernel that has none, or by token.

Yang, Kautz and Hatamizadeh, Gated Delta Networks (arXiv 2412.06464), section 3.3. With a state S, keys k and queries q
of width Dk, values v of width Dv, a decay g and a strength beta:

    u_t = beta_t (v_t - g_t S_{t-1} k_t)        S_t = g_t S_{t-1} + u_t k_t'        y_t = S_t q_t

In a chunk that begins with S, let G_ti be the decay from token i to token t, and G_t that from the chunk's start. Then

    (I + A) U = beta (V - (G k) S'),   A_ti = beta_t G_ti k_t'k_i for i < t
    Y = (G q) S' + (G_ti q_t'k_i for i <= t) U

so a chunk is a few products of matrices.
"""

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


def chunked(
    q: mx.array, k: mx.array, v: mx.array, g: mx.array, beta: mx.array, state: mx.array | None = None,
    mask: mx.array | None = None,
) -> Chunk:  # fmt: skip
    """Outputs (B, T, Hv, Dv) in the type of `q`, and the last state (B, Hv, Dv, Dk) in float32.

    q, k: (B, T, Hk, Dk); v: (B, T, Hv, Dv); g: (B, T, Hv), or (B, T, Hv, Dk) with a decay for each place of a key;
    beta: (B, T, Hv). A token that `mask` (B, T) leaves out leaves the state as it is.
    """
    batch, length, heads, width = *v.shape[:3], q.shape[-1]
    kind = q.dtype
    if mask is not None:
        g = mx.where(mask.reshape(*mask.shape, *[1] * (g.ndim - 2)), g, 1)
        beta = mx.where(mask[..., None], beta, 0)
    size = chunk_size(length, vector=g.ndim == 4)
    if state is None:
        state = mx.zeros((batch, heads, v.shape[-1], width))
    state = state.astype(mx.float32)
    if (groups := heads // q.shape[2]) > 1:
        q, k = (mx.repeat(x, groups, axis=2) for x in (q, k))
    rows = [by_head(x, size) for x in (q, k, v, log_decay(g), beta)]
    outputs, state, _ = by_chunks(_chunk, size)(*rows, state)
    return outputs[:, :, :length].swapaxes(1, 2).astype(kind), state


def _chunk(q: mx.array, k: mx.array, v: mx.array, decay: mx.array, beta: mx.array, state: mx.array) -> Chunk:
    """The outputs (B, H, C, Dv) of one chunk, and the state after it."""
    size = q.shape[2]
    if decay.ndim == 3:
        decay = decay[..., None]  # (B, H, C, 1), or Dk
    between = decay_between(decay)  # (B, H, C, C, 1 or Dk)
    from_start = mx.exp(mx.cumsum(decay, axis=2))
    keys, queries = decayed_products(k, k, between), decayed_products(q, k, between)
    strict = mx.tril(mx.ones((size, size)), k=-1)
    inverse = unit_lower_inverse(beta[..., None] * keys * strict)
    before = state.swapaxes(-1, -2)
    change = inverse @ (beta[..., None] * (v - (from_start * k) @ before))
    out = (from_start * q) @ before + queries @ change
    after = from_start[:, :, -1][..., None, :] * state + change.swapaxes(-1, -2) @ (between[:, :, -1] * k)
    return out, after
