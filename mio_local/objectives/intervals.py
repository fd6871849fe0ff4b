"""95 % intervals: of shares Wilson's (1927), which keeps its width at 0 and 1; of means over pairs, which are recorded
with their standard error, that of the normal; of ratios and differences the percentile bootstrap's (Efron and
Tibshirani 1993, ch. 13): resample, take the quantiles."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

RESAMPLES = 2000
LEVEL = 0.95
SURE = 1.96  # standard errors on either side of an interval of that level
CHUNK = 1 << 22  # counts held at once: 32 MB


@dataclass(frozen=True)
class Interval:
    """A figure and the bounds of its 95 % interval; NaN where a value is not finite."""

    value: float
    low: float
    high: float


def proportion(share: float | None, count: float | None) -> tuple[float | None, float | None]:
    """Wilson's interval of a share of `count`; (None, None) where it has none."""
    if share is None or count is None or not 0 <= share <= 1 or not 1 <= count <= 1e15:
        return None, None
    square = SURE**2
    middle = (share + square / (2 * count)) / (1 + square / count)
    half = SURE / (1 + square / count) * math.sqrt(share * (1 - share) / count + square / (4 * count**2))
    return max(0.0, middle - half), min(1.0, middle + half)


def share(values: np.ndarray) -> Interval:
    """The share of ones among ones and zeros, with Wilson's interval."""
    value = float(np.mean(values))
    low, high = proportion(value, len(values))
    return Interval(value, math.nan if low is None else low, math.nan if high is None else high)


def half(stderr: float | None) -> float | None:
    """Half of the interval of a mean with that standard error; None where none is known."""
    return None if stderr is None or not math.isfinite(SURE * stderr) else SURE * stderr


def mean(values: np.ndarray) -> Interval:
    """The mean of n values, with the interval of its standard error; NaN where it has none."""
    with np.errstate(invalid="ignore", over="ignore"):
        value = float(np.mean(values))
        wide = half(standard_error(values))
    wide = math.nan if wide is None else wide
    return Interval(value, value - wide, value + wide)


def standard_error(values: np.ndarray) -> float:
    """That of the mean; NaN for a single value."""
    if len(values) < 2:
        return math.nan
    with np.errstate(invalid="ignore", over="ignore"):
        return float(np.std(values, ddof=1) / math.sqrt(len(values)))


def ratio_error(tops: np.ndarray, bottoms: np.ndarray) -> float:
    """The standard error of sum(tops) / sum(bottoms) over n drawn pairs of them, by its linear form (Cochran 1977,
    ch. 6); NaN for a single pair."""
    with np.errstate(invalid="ignore", over="ignore"):
        rest = tops - bottoms * (tops.sum() / bottoms.sum())
        return standard_error(rest) / float(bottoms.mean())


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
