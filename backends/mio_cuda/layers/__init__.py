"""Parts of a transformers model in fewer operations: in, a model and its modules; out, ways to the same values."""
