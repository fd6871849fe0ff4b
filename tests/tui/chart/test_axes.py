"""Ranges, ticks and number formats of the chart's axes."""

import math

import numpy as np
import pytest

from mio_tui.chart.axes import (
    end_text,
    horizon,
    log_text,
    log_ticks,
    tick_text,
    ticks,
    value_text,
    x_text,
    x_ticks,
    y_range,
)


@pytest.mark.parametrize(
    ("low", "high", "most", "texts"),
    [
        (0, 1, 6, ["0.0", "0.2", "0.4", "0.6", "0.8", "1.0"]),
        (-1, 1, 5, ["-1.0", "-0.5", "0", "0.5", "1.0"]),
        (-0.0003, 0.0003, 4, ["-0.0002", "0", "0.0002"]),
        (0, 3_000_000, 4, ["0", "1e6", "2e6", "3e6"]),
        (1_000_000, 1_000_300, 4, ["1.0000e6", "1.0001e6", "1.0002e6", "1.0003e6"]),
        (0, 2e-8, 3, ["0", "1e-8", "2e-8"]),
        (17, 93, 4, ["50"]),
    ],
)
def test_ticks(low: float, high: float, most: int, texts: list[str]):
    found = ticks(low, high, most)
    step = found[1] - found[0] if len(found) > 1 else high - low
    texts = ["0" if float(text) == 0 else text for text in texts]
    assert [tick_text(value, step) for value in found] == texts


@pytest.mark.parametrize("seed", range(5))
def test_ticks_lie_inside_and_are_no_more_than_asked_for(seed: int):
    rng = np.random.default_rng(seed)
    for _ in range(200):
        low = float(rng.normal() * 10 ** rng.uniform(-12, 12))
        span = float(10 ** rng.uniform(-6, 6)) * max(abs(low), 1e-9)
        most = int(rng.integers(1, 12))
        for found in (ticks(low, low + span, most), x_ticks(low, low + span, most, "time")):
            assert all(low - span * 1e-5 <= value <= low + span * (1 + 1e-5) for value in found)
            assert len(found) <= most
        low, span = float(rng.uniform(-300, 300)), float(rng.uniform(0.01, 300))
        found = log_ticks(low, low + span, most)
        assert all(low - 1e-6 <= value <= low + span + 1e-6 for value in found)
        assert len(found) <= most


def test_log_ticks():
    assert [log_text(value) for value in log_ticks(-2, 1, 5)] == ["0.01", "0.1", "1", "10"]
    assert [log_text(value) for value in log_ticks(math.log10(0.4), math.log10(1.5), 4)] == ["0.5", "1"]
    assert [log_text(value) for value in log_ticks(math.log10(0.61), math.log10(0.69), 5)] == [
        "0.62", "0.64", "0.66", "0.68",
    ]  # fmt: skip
    assert [log_text(value) for value in log_ticks(-8, 6, 3)] == ["1e-8", "0.001", "100"]


def test_x_labels():
    assert [x_text(value, "step") for value in (0, 500, 1000, 12_000, 12_500)] == ["0", "500", "1000", "12k", "12.5k"]
    assert [x_text(value, "tokens") for value in (0, 999, 1200, 3.4e6, 2e9)] == ["0", "999", "1.2k", "3.4M", "2G"]
    assert [x_text(value, "time") for value in (0, 45, 90, 180, 3600, 5400, 90_000)] == [
        "0s", "45s", "1m30s", "3m", "1h", "1h30m", "1d1h",
    ]  # fmt: skip
    assert x_ticks(0, 600, 6, "time") == [0, 120, 240, 360, 480, 600]
    assert x_ticks(0, 3, 10, "step") == [0, 1, 2, 3]


def test_value_text():
    assert [value_text(value, "+.2f") for value in (0.126, -0.001, 0.0, math.nan, 1e9, -1e9)] == [
        "+0.13", "+0.00", "+0.00", "–", "+1.00e9", "-1.00e9",
    ]  # fmt: skip


def test_y_range_stands_until_data_leaves_it():
    held = y_range(None, 0.03, 0.97)
    assert held == (0.0, 1.0)
    assert y_range(held, 0.4, 0.5) == held
    grown = y_range(held, 0.03, 1.01)
    assert grown == pytest.approx((0.0, 1.5))
    assert y_range(grown, 0.03, 1.49) == grown
    assert y_range(held, -0.01, 0.97) == pytest.approx((-0.5, 1.0))
    assert y_range(None, 2.0, 2.0) == pytest.approx((1.8, 2.2))
    changes, held = 0, None
    for top in np.linspace(0.01, 10, 5000):
        before, held = held, y_range(held, 0.0, float(top))
        changes += held != before
        assert held[0] == 0.0
        assert held[1] >= top - 1e-9
    assert changes < 50


@pytest.mark.parametrize("total", [0, 40, 1000, 100_000])
def test_a_growing_axis_ends_a_little_past_what_is_done_and_seldom_moves(total: int):
    ends = [horizon(done, total) for done in range((total or 5000) + 1)]
    assert ends == sorted(ends)
    for done, end in enumerate(ends):
        assert done <= end
        assert end <= total if total else end >= 1.05 * done
        assert end in (10, total) or done >= 0.63 * end  # at the least, just after it moved
    assert len(set(ends)) <= 9 * math.log10(max(len(ends), 10))


def test_a_run_that_went_further_than_it_should_is_drawn_to_its_end():
    assert horizon(1200, 1000) == 1200


def test_the_end_of_an_axis_is_told_by_itself():
    texts = [end_text(value) for value in (0.0, -0.0, 0.1 + 0.2, -0.2, 1, 1234, 200_000, -5e-7)]
    assert texts == ["0", "0", "0.3", "-0.2", "1", "1234", "2e5", "-5e-7"]
