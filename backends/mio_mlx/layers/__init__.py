"""What some layers compute, done otherwise than mlx-lm does: queries, keys and values come in, their outputs go out."""
