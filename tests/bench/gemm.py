"""How fast MLX multiplies float32 matrices of the demo's size on this CPU.

    python tests/bench/gemm.py
    LD_PRELOAD=/usr/lib/x86_64-linux-gnu/openblas-pthread/libopenblas.so.0 python tests/bench/gemm.py
"""

import time

import mlx.core as mx

ROWS, INNER, COLUMNS, TIMES = 1280, 144, 384, 50


def main() -> None:
    """Print GFLOP/s."""
    mx.set_default_device(mx.Device(mx.cpu))
    a, b = mx.random.normal((ROWS, INNER)), mx.random.normal((INNER, COLUMNS))
    mx.eval(a, b, a @ b)
    began = time.perf_counter()
    for _ in range(TIMES):
        mx.eval(a @ b)
    print(f"{2 * ROWS * INNER * COLUMNS * TIMES / (time.perf_counter() - began) / 1e9:.1f} GFLOP/s")


if __name__ == "__main__":
    main()
