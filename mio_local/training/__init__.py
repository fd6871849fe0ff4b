"""From a recipe to a trained adapter.

In: a recipe, or a run directory. Out: a `Job` (`prepare` for a new run, `reopen` for one that goes on), and from it the
loop's events, checkpoints and the adapter.
"""
