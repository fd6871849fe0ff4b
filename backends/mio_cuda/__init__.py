"""PyTorch: CUDA first; also Apple's MPS, and the CPU."""

import logging

# PEFT imports it, and on a CPU with bfloat16 it then asks for a package that only its 4-bit products there would use
logging.getLogger("bitsandbytes").setLevel(logging.ERROR)

from mio_cuda.backend import CudaBackend  # noqa: E402

__all__ = ["CudaBackend"]
