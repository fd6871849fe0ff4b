"""Intervals of means by the percentile bootstrap (Efron and Tibshirani 1993, ch. 13): resample, take the quantiles."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

RESAMPLES = 2000
LEVEL = 0.95
CHUNK = 1 << 22  # counts held at once: 32 MB


@dataclass(frozen=True)
class Interval:
    """A figure and the bounds of its 95 % interval; NaN where a value is not finite."""

    value: float
    low: float
    high: float


def means(columns: Mapping[str, np.ndarray], seed: int) -> dict[str, Interval]:
    """The mean of each column of n values, with its interval. One draw of RESAMPLES resamples of the n rows serves all
    columns, so a difference of two columns is paired. The same seed and n give the same draw."""
    return ratios({name: (values, np.ones(len(values))) for name, values in columns.items()}, seed)


def ratios(columns: Mapping[str, tuple[np.ndarray, np.ndarray]], seed: int) -> dict[str, Interval]:
    """As `means`, of the sum of the first values over the sum of the second, such as nats over tokens."""
    tops, bottoms = (np.stack([np.asarray(pair[i], np.float64) for pair in columns.values()], 1) for i in (0, 1))
    n = len(tops)
    drawn = np.random.default_rng(seed)
    size = max(1, CHUNK // n)
    with np.errstate(invalid="ignore", over="ignore"):
        found = [tops.sum(0) / bottoms.sum(0)]
        for first in range(0, RESAMPLES, size):
            counts = drawn.multinomial(n, np.full(n, 1 / n), min(size, RESAMPLES - first)).astype(np.float64)
            found.append((counts @ tops) / (counts @ bottoms))
    values, drawn_values = found[0], np.concatenate(found[1:])
    tail = (1 - LEVEL) / 2
    low, high = np.quantile(drawn_values, [tail, 1 - tail], axis=0)
    return {name: Interval(float(values[i]), float(low[i]), float(high[i])) for i, name in enumerate(columns)}
