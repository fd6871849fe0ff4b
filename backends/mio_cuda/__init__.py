"""PyTorch: CUDA first; also Apple's MPS, and the CPU."""

from mio_cuda.backend import CudaBackend

__all__ = ["CudaBackend"]
