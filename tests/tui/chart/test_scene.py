"""Where a chart's curves and labels go, without a terminal."""

import numpy as np
import pytest
from rich.cells import cell_len

from mio_tui.chart import Curve, Guide
from mio_tui.chart.frame import Frame, clean, shorten
from mio_tui.chart.scene import Scene, paint, place

STEPS = np.arange(1000.0)


def curve(name: str = "chosen", y: object = None, **more: object) -> Curve:
    y = np.asarray(STEPS / 1000 if y is None else y, np.float64)
    return Curve(name, np.arange(float(y.size)), y, **{"color": "chosen", **more})


def painted(*curves: Curve, size: tuple[int, int] = (80, 20), **more: object) -> list[str]:
    scene = {"x": (0.0, 1000.0), "y": (-1.0, 1.0), "guides": (), **more}
    frame, _, _ = paint(Scene(curves, **scene), *size)
    return ["".join(text for text, _ in frame.runs(row)) for row in range(size[1])]


def test_placed_labels_are_all_different_in_order_and_inside():
    rng = np.random.default_rng(0)
    for _ in range(500):
        rows = int(rng.integers(1, 30))
        wanted = rng.integers(-1, rows + 1, int(rng.integers(0, rows + 1))).tolist()
        found = place(wanted, rows)
        assert len(set(found)) == len(found)
        assert all(0 <= row < rows for row in found)
        assert [found[i] for i in np.argsort(wanted, kind="stable")] == sorted(found)
    assert place([3, 3, 9], 20) == [3, 4, 9]
    assert place([19, 19], 20) == [18, 19]


def test_labels_stand_beside_the_lines_and_never_on_one_another():
    curves = [curve(name, np.full(900, 0.3 + i / 1000), color="a") for i, name in enumerate("abcdef")]
    rows = painted(*curves, guides=[Guide(0.3, "start")])
    for name in "abcdef":
        assert sum(row.rstrip().endswith(f" {name} +0.30") for row in rows) == 1, rows
    assert sum("start" in row for row in rows) == 1
    assert not any(ord(character) >= 0x2801 for row in rows for character in row[72:])  # no dot where labels stand
    assert all(len(row) == 80 for row in rows)


def test_more_labels_than_rows_leave_out_guides_first():
    rows = painted(curve("one"), curve("two"), guides=[Guide(0.5, "start")], size=(80, 2))
    assert any("one" in row for row in rows)
    assert any("two" in row for row in rows)
    assert not any("start" in row for row in rows)


def test_narrow_chart_drops_its_labels_and_gives_the_room_to_the_curve():
    rows = painted(curve(), size=(36, 10))
    assert not any("chosen" in row for row in rows)
    assert any("⠁" <= row[-1] <= "⣿" for row in rows)


def test_guide_out_of_the_range_is_an_arrow_at_the_edge():
    rows = painted(curve(), guides=[Guide(6.9, "target +6.9"), Guide(-8, "floor")])
    assert rows[0].rstrip().endswith("target +6.9 ↑")
    assert rows[-2].rstrip().endswith("floor ↓")


def test_line_end_shows_the_last_finite_value():
    y = np.append(np.full(500, 0.25), [np.nan, np.inf])
    assert any("chosen +0.25" in row for row in painted(curve(y=y)))


def test_ascii_marks():
    text = "".join(painted(curve(), curve("b", y=-STEPS / 1000, dash=True), guides=[Guide(0, "0")], ascii=True))
    assert text.isascii()
    assert {"*", "+", ".", "|"} <= set(text)


def test_curves_differ_without_colour():
    solid, dashed = painted(curve()), painted(curve(dash=True))
    assert solid != dashed
    assert sum(map(len, "".join(solid).split())) > sum(map(len, "".join(dashed).split())) * 0.9


def test_points_of_unequal_number_are_refused():
    with pytest.raises(ValueError, match=r"'x'.*\(2,\).*\(3,\)"):
        Curve("x", np.zeros(2), np.zeros(3), "a")


def test_frame_holds_wide_characters_and_cuts_at_its_edge():
    frame = Frame(6, 1)
    frame.put(1, 0, "日本x本", 1)
    assert frame.runs(0) == [(" 日本x", 1)]
    assert cell_len(frame.runs(0)[0][0]) == 6
    frame.put(-1, 0, "日é", 2)
    assert frame.runs(0)[0] == (" é", 2)


def test_changes_name_just_the_cells_that_differ():
    old, new = Frame(10, 4), Frame(10, 4)
    new.put(3, 2, "ab", 1)
    assert new.changes(old) == [(2, 3, 2)]
    assert new.changes(Frame(10, 5)) is None
    assert old.changes(Frame(10, 4)) == []


def test_clean_and_shorten():
    assert clean("a\x1b[31mb\nc\u202ed\x9be\u200bf") == "a·[31mb·cd·ef"
    assert shorten("abcdef", 4) == "abc…"
    assert shorten("日本語", 4) == "日…"
    assert [shorten("abc", width) for width in (0, 1, -3)] == ["", "…", ""]


def test_every_size_paints():
    for width in [*range(1, 30), 57, 111, 250]:
        for height in [*range(1, 9), 31, 80]:
            rows = painted(curve(y=STEPS[:50]), guides=[Guide(1, "x")], cursor=4.0, size=(width, height))
            assert {cell_len(row) for row in rows} == {width}


def test_few_rows_hold_the_ends_of_the_range_and_no_label():
    rows = painted(curve(), y=(-0.2, 1.0), size=(40, 3), bare=True)
    assert rows[0].startswith("   1┤")
    assert rows[2].startswith("-0.2┤")
    assert not any("chosen" in row for row in rows)
    assert painted(curve(), size=(40, 1), bare=True)[0][0] != " "  # one row is all curve
