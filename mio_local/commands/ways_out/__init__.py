"""The formats of `mio-local export` that have flags and words of their own."""
