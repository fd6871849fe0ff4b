"""Several ranks by MLX's own collectives: its ring, or what mlx.launch was told to take."""
