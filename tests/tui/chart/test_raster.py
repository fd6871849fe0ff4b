"""The chart's dots, against a plain reference that draws point after point."""

import math

import numpy as np
import pytest

from mio_tui.chart.curve import smoothed
from mio_tui.chart.raster import Window, cells, guide, line


def window(x: tuple[float, float], y: tuple[float, float], columns: int, rows: int) -> Window:
    return Window(*x, *y, columns, rows)


def braille(dots: np.ndarray) -> list[str]:
    return ["".join(chr(0x2800 + code) for code in row) for row in cells(dots).tolist()]


def test_diagonal_of_four_points_is_four_dots():
    # dots 7 and 6 of the left cell (bottom left, third right), 2 and 4 of the right one: U+2860 and U+280A
    dots = line(window((0, 3), (0, 3), 4, 4), np.arange(4.0), np.arange(4.0))
    assert braille(dots) == ["⡠⠊"]


@pytest.mark.parametrize("seed", range(3))
def test_a_line_is_what_all_its_points_joined_one_by_one_would_be(seed: int):
    rng = np.random.default_rng(seed)
    y = rng.normal(0, 1, 3000).cumsum() / 20 + rng.normal(0, 1, 3000)
    y[rng.integers(0, 3000, 40)] = np.nan
    view = window((0, 2999), (float(np.nanmin(y)), float(np.nanmax(y))), 120, 80)
    column = [math.floor(119 * i / 2999 + 0.5) for i in range(3000)]
    row = [None if math.isnan(v) else math.floor((view.y_high - v) / (view.y_high - view.y_low) * 79 + 0.5) for v in y]
    expected = np.zeros((80, 120), bool)
    for i in range(2999):
        if row[i] is None or row[i + 1] is None:
            continue
        across, down = column[i + 1] - column[i], row[i + 1] - row[i]
        steps = max(abs(across), abs(down), 1)
        for k in range(steps + 1):
            at = row[i] + math.floor(down * k / steps + 0.5), column[i] + math.floor(across * k / steps + 0.5)
            expected[at] = True
    assert np.array_equal(line(view, np.arange(3000.0), y), expected)


@pytest.mark.parametrize("dash", [False, True])
@pytest.mark.parametrize("at", range(61_000, 65_000, 500))  # eight columns of dots in a row: each phase of a dash
def test_spike_among_100_000_points_is_kept(at: int, dash: bool):
    y = np.zeros(100_000)
    y[at] = 1
    dots = line(window((0, 99_999), (0, 1), 200, 80), np.arange(100_000.0), y, dash=dash)
    assert np.flatnonzero(dots[0]).tolist() == [math.floor(at / 99_999 * 199 + 0.5)]


@pytest.mark.parametrize("hole", [np.nan, np.inf, -np.inf])
def test_gap_is_not_bridged(hole: float):
    y = np.zeros(100)
    y[40:60] = hole
    dots = line(window((0, 99), (-1, 1), 100, 9), np.arange(100.0), y)
    assert np.flatnonzero(dots[4]).tolist() == [*range(40), *range(60, 100)]
    assert dots.sum() == 80


def test_gap_inside_one_column_of_dots_is_not_bridged():
    y = np.array([0.0, np.nan, 1.0])
    dots = line(window((0, 1000), (0, 1), 10, 40), np.arange(3.0), y)
    assert not dots[5:35].any()
    assert dots[:3].any()
    assert dots[-3:].any()


def test_lone_point_is_seen():
    for y in ([0.5], [np.nan, 0.5, np.nan, np.nan]):
        assert line(window((0, 10), (0, 1), 40, 40), np.arange(float(len(y))), np.array(y)).sum() == 4


def test_dashes_stay_apart_on_a_steep_span_and_on_a_flat_one():
    steep = line(window((0, 1), (0, 1), 2, 400), np.array([0, 1.0]), np.array([0, 1.0]), dash=True).any(axis=1)
    flat = line(window((0, 1), (0, 1), 400, 2), np.array([0, 1.0]), np.array([0, 0.0]), dash=True).any(axis=0)
    for drawn in (steep, flat):
        edges = np.flatnonzero(np.diff(drawn.astype(int)))
        runs = np.diff(edges)
        assert len(runs) > 90
        assert set(runs.tolist()) == {3, 5}


def test_marked_point_is_a_square_around_it():
    dots = line(window((0, 100), (0, 10), 101, 11), np.array([20.0, 80.0]), np.array([5.0, 5.0]), marks=True)
    assert np.argwhere(dots[[4, 6]].all(axis=0)).ravel().tolist() == [19, 20, 21, 79, 80, 81]
    assert dots[5, 19:82].all()


def test_line_crosses_a_zoomed_window_that_holds_none_of_its_points():
    dots = line(window((4.5, 5.5), (0, 10), 50, 41), np.array([0.0, 10.0]), np.array([0.0, 10.0]))
    assert dots.any(axis=0).all()
    assert sorted(set(np.argwhere(dots)[:, 0].tolist())) == [18, 19, 20, 21, 22]  # y from 4.5 to 5.5 of 0 to 10
    assert not line(window((4.5, 5.5), (0, 10), 50, 41), np.array([0.0, 10.0]), np.array([0.0, np.nan])).any()


def test_huge_values_draw_and_do_not_warn():
    y = np.array([1e308, -1e308, 5e-324, 0.0])
    assert line(window((0, 3), (-1e300, 1e300), 20, 20), np.arange(4.0), y).any()


def test_guide_is_one_dot_per_cell_and_nothing_outside():
    assert braille(guide(window((0, 1), (0, 1), 8, 4), 1.0)) == ["⠁⠁⠁⠁"]
    assert not guide(window((0, 1), (0, 1), 8, 4), 1.1).any()


def test_smoothed_is_the_mean_of_the_last_points():
    y = np.array([1.0, 2, 3, np.nan, 5, 1e300, 7, 8, 9])
    expected = [1, 1.5, 2.5, np.nan, 5, (5 + 1e300) / 2, (1e300 + 7) / 2, 7.5, 8.5]
    np.testing.assert_allclose(smoothed(y, 2), expected, rtol=1e-12)
    assert smoothed(y, 0) is y
    assert smoothed(np.array([]), 10).size == 0
    np.testing.assert_allclose(smoothed(np.array([1.0, 3.0]), 100), [1, 2])
    np.testing.assert_array_equal(smoothed(np.arange(500.0), 25), smoothed(np.arange(1000.0), 25)[:500])
