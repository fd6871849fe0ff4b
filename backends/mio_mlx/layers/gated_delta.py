"""The gated delta rule with a gradient, in chunks: mlx-lm computes it by a Metal kernel that has none, or by token.

Yang, Kautz and Hatamizadeh, Gated Delta Networks (arXiv 2412.06464), section 3.3. With a state S, keys k and queries q
of width Dk, values v of width Dv, a decay g and a strength beta:

    u_t = beta_t (v_t - g_t S_{t-1} k_t)        S_t = g_t S_{t-1} + u_t k_t'        y_t = S_t q_t

In a chunk that begins with S, let G_ti be the decay from token i to token t, and G_t that from the chunk's start. Then

    (I + A) U = beta (V - (G k) S'),   A_ti = beta_t G_ti k_t'k_i for i < t
    Y = (G q) S' + (G_ti q_t'k_i for i <= t) U

so a chunk is a few products of matrices. The backward pass goes from the last chunk to the first, and computes each
again from the state that it began with: memory grows by one state a chunk. Decays are exponentials of sums that never
exceed 0, so none overflows.
"""

from collections.abc import Callable, Generator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import mlx.core as mx
from mlx_lm.models import gated_delta

from mio_mlx.patching import replaced

NAMES = ("gated_delta_ops", "gated_delta_kernel")  # one of which mlx-lm's layers end in
CHUNK = 64  # tokens; one decay a head
VECTOR_CHUNK = 16  # where each of a key's places has a decay of its own: Dk times as many lie between tokens
BLOCK = 8  # rows that are inverted by a series
SMALLEST = 1.2e-38  # decay: the logarithm of 0 is none

Chunk = tuple[mx.array, mx.array]


@contextmanager
def differentiable() -> Generator[None]:
    """In mlx-lm's layers, the rule of this module instead of its own."""
    with ExitStack() as stack:
        for name in NAMES:
            stack.enter_context(replaced([gated_delta], name, lambda _: chunked))
        yield


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
    decay = mx.log(mx.maximum(g.astype(mx.float32), SMALLEST))
    size = min(VECTOR_CHUNK if g.ndim == 4 else CHUNK, max(BLOCK, 1 << (length - 1).bit_length()))
    if state is None:
        state = mx.zeros((batch, heads, v.shape[-1], width))
    state = state.astype(mx.float32)
    if (groups := heads // q.shape[2]) > 1:
        q, k = (mx.repeat(x, groups, axis=2) for x in (q, k))
    rows = [_by_head(x, size) for x in (q, k, v, decay, beta)]
    outputs, state, _ = _rule(size)(*rows, state)
    return outputs[:, :, :length].swapaxes(1, 2).astype(kind), state


def _rule(size: int) -> Callable[..., Sequence[mx.array]]:
    """Of rows by head and a state: the outputs, the last state, and the states that the chunks of `size` begin with."""

    def forward(*given: mx.array) -> Any:
        outputs: list[mx.array] = []
        *rows, state = given
        states = [state]
        for q, k, v, decay, beta in _chunks(rows, size):
            out, state = _chunk(q, k, v, decay, beta, state)
            outputs.append(out)
            states.append(state)
        return mx.concatenate(outputs, axis=2), state, mx.stack(states[:-1])

    def backward(primals: Sequence[mx.array], cotangents: Sequence[mx.array], outputs: Sequence[mx.array]) -> Any:
        of_state, starts = cotangents[1], outputs[2]
        chunks, of_outputs = _chunks(primals[:-1], size), _chunks(cotangents[:1], size)
        found: list[list[mx.array]] = []
        for number in reversed(range(len(chunks))):
            # only once the chunk behind it is done, else all of them would be in memory
            given = mx.depends([*chunks[number], starts[number]], [of_state])
            _, (*gradients, of_state) = mx.vjp(_chunk, given, [*of_outputs[number], of_state])
            found.append(gradients)
        joined = (mx.concatenate(list(parts), axis=2) for parts in zip(*reversed(found), strict=True))
        return (*joined, of_state)

    rule: Any = mx.custom_function(forward)
    rule.vjp(backward)
    return rule


def _chunks(rows: Sequence[mx.array], size: int) -> list[list[mx.array]]:
    """Rows (B, H, T, ...) in parts of `size` tokens."""
    return [[x[:, :, n : n + size] for x in rows] for n in range(0, rows[0].shape[2], size)]


def _by_head(x: mx.array, size: int) -> mx.array:
    """(B, T, H, ...) as (B, H, T', ...) in float32, T' a multiple of `size`; what is added does nothing: log decay and
    strength are 0."""
    x = x.astype(mx.float32).swapaxes(1, 2)
    more = -x.shape[2] % size
    return mx.pad(x, [(0, 0), (0, 0), (0, more), *[(0, 0)] * (x.ndim - 3)]) if more else x


def _chunk(q: mx.array, k: mx.array, v: mx.array, decay: mx.array, beta: mx.array, state: mx.array) -> Chunk:
    """The outputs (B, H, C, Dv) of one chunk, and the state after it."""
    size = q.shape[2]
    if decay.ndim == 3:
        decay = decay[..., None]  # (B, H, C, 1), or Dk
    between = _between(decay)  # (B, H, C, C, 1 or Dk)
    from_start = mx.exp(mx.cumsum(decay, axis=2))
    keys, queries = _products(k, k, between), _products(q, k, between)
    strict = mx.tril(mx.ones((size, size)), k=-1)
    inverse = unit_lower_inverse(beta[..., None] * keys * strict)
    before = state.swapaxes(-1, -2)
    change = inverse @ (beta[..., None] * (v - (from_start * k) @ before))
    out = (from_start * q) @ before + queries @ change
    after = from_start[:, :, -1][..., None, :] * state + change.swapaxes(-1, -2) @ (between[:, :, -1] * k)
    return out, after


def _between(decay: mx.array) -> mx.array:
    """exp of the sum of `decay` (B, H, C, D) over i < j <= t, as (B, H, t, i, D); 0 for i > t. Summed for each i by
    itself: differences of sums from the start lose what a strong decay before i leaves of their digits."""
    size = decay.shape[2]
    lower = mx.tril(mx.ones((size, size), dtype=mx.bool_))[..., None]
    strict = mx.tril(mx.ones((size, size), dtype=mx.bool_), k=-1)[..., None]
    sums = mx.cumsum(mx.where(strict, decay[:, :, :, None], 0), axis=2)
    return mx.exp(mx.where(lower, sums, -mx.inf))


def _products(left: mx.array, right: mx.array, between: mx.array) -> mx.array:
    """left_t' right_i with the decay from i to t: (B, H, C, C)."""
    if between.shape[-1] == 1:
        return (left @ right.swapaxes(-1, -2)) * between[..., 0]
    return ((between * right[:, :, None]) @ left[..., None])[..., 0]


def unit_lower_inverse(strict: mx.array) -> mx.array:
    """(I + A)^-1 for A (..., C, C) that is 0 on the diagonal and above it, C a power of two from 8 on.

    Blocks of 8 by (I - A)(I + A^2)(I + A^4), as A^8 is 0; then pairs of blocks, X and Z over one another with L below
    and left, as the inverse's lower left block is -Z^-1 L X^-1. A series of all of A would lose its digits where the
    keys of a chunk are alike.
    """
    size, width = strict.shape[-1], BLOCK
    one = mx.eye(width)
    a = _blocks(strict, width, 0)
    a2 = a @ a
    found = (one - a) @ (one + a2) @ (one + a2 @ a2)  # (..., C / 8, 8, 8)
    while width < size:
        upper, lower = found[..., 0::2, :, :], found[..., 1::2, :, :]
        corner = -lower @ _blocks(strict, 2 * width, width)[..., :width] @ upper
        top = mx.concatenate([upper, mx.zeros_like(upper)], axis=-1)
        found = mx.concatenate([top, mx.concatenate([corner, lower], axis=-1)], axis=-2)
        width *= 2
    return found[..., 0, :, :]


def _blocks(matrix: mx.array, width: int, below: int) -> mx.array:
    """The square blocks along the diagonal, without their first `below` rows: (..., blocks, width - below, width)."""
    firsts = range(0, matrix.shape[-1], width)
    return mx.stack([matrix[..., n + below : n + width, n : n + width] for n in firsts], axis=-3)
