"""The mathematics alone: losses, metrics of pairs, intervals, the learning rate.

In: log-probs of answers (arrays of one value per pair, nats), and plain numbers. Out: values per pair, figures, rates.
Knows no setting, no model, no file.
"""
