"""Several ranks by PyTorch's own collectives: NCCL on GPUs, gloo on CPUs."""
