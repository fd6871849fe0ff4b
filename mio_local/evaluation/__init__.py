"""How good a saved adapter is on what it was not trained on.

In: the name of a run, an adapter's folder or a model. Out: the loaded model, and figures with their intervals.
"""
