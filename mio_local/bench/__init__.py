"""How fast and how large a training is on this machine.

In: a recipe with one change. Out: pairs and tokens per second, peak memory, the work that the step needs.
"""
