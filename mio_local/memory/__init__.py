"""Whether a run fits into memory.

In: a model's shape, the recipe, the longest pairs. Out: bytes, and the smallest change that makes it fit; by an
estimate before anything is loaded, then by a rehearsal of one step.
"""
