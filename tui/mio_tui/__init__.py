"""The terminal app: pick a model, data and settings, start a run, and watch the likelihoods live."""
