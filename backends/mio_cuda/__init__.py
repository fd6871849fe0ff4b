"""PyTorch: CUDA first; also Apple's MPS, and the CPU."""

import logging
import os
import sys

if sys.platform == "linux" and "torch" not in sys.modules:
    # rows are of many lengths: else what is free lies in pieces, each too small for the next row
    if "PYTORCH_CUDA_ALLOC_CONF" not in os.environ:  # its older name
        os.environ.setdefault("PYTORCH_ALLOC_CONF", "expandable_segments:True")
# PEFT imports it, and on a CPU with bfloat16 it then asks for a package that only its 4-bit products there would use
logging.getLogger("bitsandbytes").setLevel(logging.ERROR)

from mio_cuda.backend import CudaBackend  # noqa: E402

__all__ = ["CudaBackend"]
