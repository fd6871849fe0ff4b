"""Memory and time of the gated delta rule's gradient, in our chunks and by token, as mlx-lm has it without its kernel:

    python tests/bench/gated_delta.py [LENGTH...]

One row, eight heads, keys and values of width 128, on the default device. Memory is what the gradient adds at its peak,
with MLX told to wait for each operation, else it allocates ahead of a slow CPU.
"""

import sys
import time
from pathlib import Path

import mlx.core as mx
from mlx_lm.models.gated_delta import gated_delta_ops

sys.path.insert(0, str(Path(__file__).parents[2] / "backends"))

from mio_mlx.layers.gated_delta import chunked

HEADS, WIDTH = 8, 128


def main(lengths: list[int]) -> None:
    """A line for each rule and length."""
    mx.set_memory_limit(1)
    mx.set_cache_limit(0)
    for name, rule in (("in chunks", chunked), ("by token", gated_delta_ops)):
        for length in lengths:
            shape = (1, length, HEADS, WIDTH)
            q, k, v = (0.08 * mx.random.normal(shape) for _ in range(3))
            g, beta = mx.exp(-mx.random.uniform(0, 0.1, shape[:3])), mx.random.uniform(0, 1, shape[:3])
            mx.eval(q, k, v, g, beta)
            mx.reset_peak_memory()
            before, began = mx.get_active_memory(), time.perf_counter()
            mx.eval(mx.grad(lambda *x, rule=rule: (rule(*x)[0] ** 2).sum(), argnums=(0, 1, 2, 3, 4))(q, k, v, g, beta))
            mebibytes, seconds = (mx.get_peak_memory() - before) / 2**20, time.perf_counter() - began
            print(f"{name}, {length:,} tokens: {mebibytes:,.0f} MiB, {seconds:.1f} s", flush=True)


if __name__ == "__main__":
    main([int(word) for word in sys.argv[1:]] or [512, 1024, 2048])
