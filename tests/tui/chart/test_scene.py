"""Where a chart's curves and labels go, without a terminal."""

import numpy as np
import pytest
from rich.cells import cell_len

from mio_tui.chart import Curve, Guide
from mio_tui.chart.frame import Frame, clean, shorten
from mio_tui.chart.scene import Scene, paint

STEPS = np.arange(1000.0)


def curve(name: str = "chosen", y: object = None, **more: object) -> Curve:
    y = np.asarray(STEPS / 1000 if y is None else y, np.float64)
    return Curve(name, np.arange(float(y.size)), y, **{"color": "chosen", **more})


def painted(*curves: Curve, size: tuple[int, int] = (80, 20), **more: object) -> list[str]:
    scene = {"x": (0.0, 1000.0), "y": (-1.0, 1.0), "guides": (), **more}
    frame, _, _ = paint(Scene(curves, **scene), *size)
    return ["".join(text for text, _ in frame.runs(row)) for row in range(size[1])]


def row_of(y: float, rows: int, low: float, high: float) -> int:
    """The row of a value, of equal rows from high to low."""
    return min(int((high - y) / (high - low) * rows), rows - 1)


def test_a_label_stands_on_the_row_of_its_value_or_nowhere():
    """A fallen rejected curve squeezes the others into one row; a label that was moved away reads as another value."""
    curves = [curve("rejected", np.linspace(0, -70.2, 900), dash=True), curve("chosen", np.full(900, -0.4))]
    guides = [Guide(0.4, "target", "+0.40"), Guide(0, "start")]
    for width in (80, 110, 140):
        rows = painted(*curves, guides=guides, y=(-80.0, 10.0), size=(width, 20))
        expected = {row_of(y, 19, -80, 10) for y in (-0.4, 0.4, 0.0)}
        assert expected == {2}
        found = {row: rows[row].rpartition("  ")[2] for row in range(19) if any(map(str.isalpha, rows[row]))}
        assert set(found) == {2, row_of(-70.2, 19, -80, 10)}
        assert "chosen -0.40" in found[2]
        assert ("target +0.40" in found[2] and "start" in found[2]) or "…" in found[2]
    assert rows[2].rstrip().endswith("chosen -0.40, target +0.40, start")


def test_curves_that_share_a_row_share_its_label_with_their_names_cut():
    curves = [curve(name, np.full(900, 0.3 + i / 1000)) for i, name in enumerate(("rejected", "chosen"))]
    rows = painted(*curves, guides=[Guide(0.3, "start")])
    assert [row for row in rows if "+0.30" in row] == [rows[row_of(0.3, 19, -1, 1)]]
    assert rows[row_of(0.3, 19, -1, 1)].rstrip().endswith(" cho… +0.30, rej… +0.30 …")
    assert not any("start" in row for row in rows)


def test_more_curves_than_a_row_can_name_are_told_by_an_ellipsis():
    curves = [curve(name, np.full(900, 0.3 + i / 1000), color="a") for i, name in enumerate("abcdef")]
    rows = painted(*curves)
    assert sum("+0.30" in row for row in rows) == 1
    assert rows[row_of(0.3, 19, -1, 1)].rstrip().endswith(" f +0.30, e +0.30 …")
    assert not any(ord(character) >= 0x2801 for row in rows for character in row[72:])  # no dot where labels stand
    assert all(len(row) == 80 for row in rows)


def test_where_there_is_room_for_one_label_it_is_the_one_on_top():
    curves = [curve(name, np.full(900, 0.3 + i / 1000), color="a") for i, name in enumerate("AB")]
    rows = painted(*curves, size=(37, 12))
    assert [row.rstrip()[-7:] for row in rows if "+0.30" in row] == ["B +0.30"]


def test_a_row_of_a_curve_and_a_guide_leaves_out_the_guide_first():
    rows = painted(curve("one"), curve("two"), guides=[Guide(0.9, "beginning")], size=(80, 2))
    assert rows[0].rstrip().endswith("two +1.00, one +1.00 …")
    assert not any("beginning" in row for row in rows)


def test_narrow_chart_drops_its_labels_and_gives_the_room_to_the_curve():
    rows = painted(curve(), size=(36, 10))
    assert not any("chosen" in row for row in rows)
    assert any("⠁" <= row[-1] <= "⣿" for row in rows)


def test_guide_out_of_the_range_is_an_arrow_at_the_edge():
    rows = painted(curve(), guides=[Guide(6.9, "target", "+6.9"), Guide(-8, "floor")], size=(100, 20))
    assert rows[0].rstrip().endswith("chosen +1.00, target +6.9 ↑")
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
