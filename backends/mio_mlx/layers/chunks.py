"""A recurrence in chunks of tokens, each a few products of matrices, with a gradient that computes each chunk again.

The backward pass goes from the last chunk to the first, and begins each from the state that it began with: memory grows
by one state a chunk. Decays are exponentials of sums that never exceed 0, so none overflows.
"""

from collections.abc import Callable, Sequence
from typing import Any

import mlx.core as mx

CHUNK = 64  # tokens; one decay a head
VECTOR_CHUNK = 16  # where each of a key's places has a decay of its own: Dk times as many lie between tokens
BLOCK = 8  # rows that are inverted by a series
SMALLEST = 1.2e-38  # decay: the logarithm of 0 is none

Chunk = tuple[mx.array, mx.array]


def chunk_size(length: int, *, vector: bool) -> int:
    """Tokens of a chunk for a row of that length."""
    return min(VECTOR_CHUNK if vector else CHUNK, max(BLOCK, 1 << (length - 1).bit_length()))


def log_decay(decay: mx.array) -> mx.array:
    return mx.log(mx.maximum(decay.astype(mx.float32), SMALLEST))


def by_chunks(chunk: Callable[..., Chunk], size: int) -> Callable[..., Sequence[mx.array]]:
    """Of rows by head and a state, `chunk` giving outputs and state of `size` tokens: the outputs, the last state, and
    the states that the chunks begin with."""

    def forward(*primals: mx.array) -> Any:
        outputs: list[mx.array] = []
        *rows, state = primals
        states = [state]
        for given in _chunks(rows, size):
            out, state = chunk(*given, state)
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
            _, (*gradients, of_state) = mx.vjp(chunk, given, [*of_outputs[number], of_state])
            found.append(gradients)
        joined = (mx.concatenate(list(parts), axis=2) for parts in zip(*reversed(found), strict=True))
        return (*joined, of_state)

    rule: Any = mx.custom_function(forward)
    rule.vjp(backward)
    return rule


def _chunks(rows: Sequence[mx.array], size: int) -> list[list[mx.array]]:
    """Rows (B, H, T, ...) in parts of `size` tokens."""
    return [[x[:, :, n : n + size] for x in rows] for n in range(0, rows[0].shape[2], size)]


def by_head(x: mx.array, size: int) -> mx.array:
    """(B, T, H, ...) as (B, H, T', ...) in float32, T' a multiple of `size`; what is added does nothing: log decay and
    strength are 0."""
    x = x.astype(mx.float32).swapaxes(1, 2)
    more = -x.shape[2] % size
    return mx.pad(x, [(0, 0), (0, 0), (0, more), *[(0, 0)] * (x.ndim - 3)]) if more else x


def decay_between(decay: mx.array) -> mx.array:
    """exp of the sum of `decay` (B, H, C, D) over i < j <= t, as (B, H, t, i, D); 0 for i > t. Summed for each i by
    itself: differences of sums from the start lose what a strong decay before i leaves of their digits."""
    size = decay.shape[2]
    lower = mx.tril(mx.ones((size, size), dtype=mx.bool_))[..., None]
    strict = mx.tril(mx.ones((size, size), dtype=mx.bool_), k=-1)[..., None]
    sums = mx.cumsum(mx.where(strict, decay[:, :, :, None], 0), axis=2)
    return mx.exp(mx.where(lower, sums, -mx.inf))


def decayed_products(left: mx.array, right: mx.array, between: mx.array) -> mx.array:
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
