"""MLX: Apple silicon first; also MLX on CUDA, and on the CPU of a Linux machine."""

from mio_mlx.backend import MlxBackend

__all__ = ["MlxBackend"]
