"""Which of a run's processes this one is. In: what torchrun, mlx.launch or mpirun set. Out: its place among them."""
