"""Data as it will be tokenised, for the app's form: the process that reads it, and the app's side of that process.

In: a source, a model and the data settings. Out: pairs as tokens, statistics, warnings.
"""
