"""The process of a rank that rank 0 began: BACKEND DEVICE, and who it is by torchrun's and mlx.launch's variables."""

import sys

from mio_local.backends import load_backend
from mio_local.launched.launchers import MLX, TORCHRUN, place_of
from mio_local.process import claim
from mio_local.ranks.rendezvous import follow


def main(name: str, device: str) -> None:
    """Serve rank 0 until it is through."""
    claim()
    follow(load_backend(name), device, place_of(MLX if name == "mlx" else TORCHRUN))


if __name__ == "__main__":
    main(*sys.argv[1:3])
