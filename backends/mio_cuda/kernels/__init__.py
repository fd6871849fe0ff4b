"""Kernels in Triton's language, for a GPU. In: tensors on it. Out: what the plain path gives, with fewer bytes moved.
The plain path checks each on the device before it is used, and stays where Triton is missing."""
