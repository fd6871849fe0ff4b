"""The chart widget in a Textual app without a terminal."""

import time

import numpy as np
import pytest
from rich.cells import cell_len
from textual import events
from textual.app import App, ComposeResult
from textual.geometry import Region
from textual.theme import Theme

from mio_tui.chart import Chart, Curve, Guide
from tests.helpers.tui.screens import until

STEPS = np.arange(1000.0)


def curve(name: str = "chosen", y: object = None, **more: object) -> Curve:
    y = np.asarray(STEPS / 1000 if y is None else y, np.float64)
    return Curve(name, np.arange(float(y.size)), y, **{"color": "chosen", **more})


class Shown(App[None]):
    CSS = "Chart { border: round gray; }"

    def __init__(self, **options: object) -> None:
        super().__init__()
        self.options = options

    def compose(self) -> ComposeResult:
        yield Chart(**self.options)

    @property
    def chart(self) -> Chart:
        return self.query_one(Chart)

    def rows(self) -> list[str]:
        return [self.chart.render_line(row).text for row in range(self.chart.size.height)]


async def test_no_size_raises():
    app = Shown(empty="nothing yet")
    async with app.run_test(size=(80, 24)) as pilot:
        app.chart.styles.border = ("none", "gray")
        for shown in ([], [curve("chosen", dash=True), curve("b", y=[np.nan, 1, 2], marks=True)]):
            app.chart.show(shown, [Guide(0, "start"), Guide(99, "target")], x_end=2000)
            app.chart.log_y = not app.chart.log_y
            for size in [(1, 1), (2, 3), (250, 1), (1, 80), (12, 4), (40, 10), (250, 80)]:
                await pilot.resize_terminal(*size)
                await until(pilot, lambda size=size: app.chart.size == size)
                assert [cell_len(row) for row in app.rows()] == [size[0]] * size[1]
                app.chart.set_cursor(3.0)
                app.chart.move_cursor(-2)
                assert [cell_len(row) for row in app.rows()] == [size[0]] * size[1]
                app.chart.set_cursor(None)


async def test_names_are_shown_as_they_are_and_send_no_escape_sequence():
    app = Shown()
    async with app.run_test(size=(120, 20)) as pilot:
        names = ("[red]x[/INST]", "[bold]t\x1b]0;x\x07", "a\x1b[2Jb")
        ends = (STEPS / 1000, STEPS, -STEPS)
        app.chart.show([curve(name, y=y) for name, y in zip(names, ends, strict=True)], [Guide(0, "[/]\x9b1m")])
        await pilot.pause()
        text = "\n".join(app.rows())
        for name in ("[red]x[/INST] +1.00", "a·[2Jb -999", "[/]·1m", "[bold]t·]0;x·"):
            assert name in text
        assert not any(ord(c) < 32 or 127 <= ord(c) < 160 for row in app.rows() for c in row)
        app.chart.set_cursor(500.0)
        assert "[red]x[/INST] +0.50" in app.rows()[0]


async def test_only_changed_cells_are_refreshed_while_the_axes_stand(monkeypatch: pytest.MonkeyPatch):
    app = Shown()
    y = np.sin(STEPS / 50)
    async with app.run_test(size=(100, 30)) as pilot:
        app.chart.show([curve(y=y[:400])], x_end=1000)
        await pilot.pause()
        before, refreshed = app.rows(), []
        monkeypatch.setattr(app.chart, "refresh", lambda *regions: refreshed.extend(regions))
        app.chart.show([curve(y=y[:400])], x_end=1000)
        assert refreshed == []
        app.chart.show([curve(y=y[:440])], x_end=1000)
        after = app.rows()
        changed = {(x, y) for y, row in enumerate(after) for x, c in enumerate(row) if c != before[y][x]}
        assert changed
        assert changed <= {(x, y) for region in refreshed for x in region.column_range for y in region.line_range}
        assert (left := [region for region in refreshed if region.right < 80])  # the others hold the label
        assert all(region.x >= 30 for region in left)
        assert all(isinstance(region, Region) and region.height == 1 for region in refreshed)


async def test_what_is_on_the_screen_after_partial_refreshes_is_the_whole_picture():
    app = Shown()
    async with app.run_test(size=(100, 30)) as pilot:
        for points in range(100, 400, 7):
            app.chart.show([curve(y=STEPS[:points] ** 2), curve("b", y=np.sin(STEPS[:points]), dash=True)], x_end=1000)
            await pilot.pause()
            drawn = [strip.text for strip in app.screen._compositor.render_strips()]
            assert [row[1:-1] for row in drawn[1:-1]] == app.rows()


async def test_a_resize_draws_anew():
    app = Shown()
    async with app.run_test(size=(60, 20)) as pilot:
        app.chart.show([curve()], x_end=1000)
        await pilot.resize_terminal(120, 40)
        await pilot.pause()
        drawn = [strip.text for strip in app.screen._compositor.render_strips()]
        assert len(drawn) == 40
        assert sum("⠀" < character <= "⣿" for character in "".join(drawn)) > 100


def colours(app: Shown, text: str) -> set[str]:
    """The colours in which characters of `text` are drawn."""
    strips = [app.chart.render_line(row) for row in range(app.chart.size.height)]
    return {
        segment.style.color.get_truecolor().hex
        for strip in strips
        for segment in strip
        if segment.style and segment.style.color and text in segment.text
    }


async def test_colours_come_from_the_theme_and_follow_it():
    app = Shown()
    dark = Theme("dark-test", primary="#111111", variables={"chosen": "#56B4E9", "rejected": "#E69F00"})
    light = Theme("light-test", primary="#111111", dark=False, variables={"chosen": "#0072B2", "rejected": "#D55E00"})
    async with app.run_test(size=(100, 20)) as pilot:
        app.chart.show([curve("no", y=-STEPS, color="rejected"), curve("yes")])
        await pilot.pause()
        plain = colours(app, "yes")
        assert len(plain) == 1
        assert plain != colours(app, "no")
        for theme, yes, no in ((dark, "#56b4e9", "#e69f00"), (light, "#0072b2", "#d55e00")):
            app.register_theme(theme)
            app.theme = theme.name
            await pilot.pause()
            assert colours(app, "yes") == {yes}
            assert colours(app, "no") == {no}
        app.theme = "textual-dark"
        await pilot.pause()
        assert colours(app, "yes") == plain


async def test_no_color_leaves_labels_dashes_and_dimness(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("NO_COLOR", "1")
    app = Shown()
    async with app.run_test(size=(100, 20)) as pilot:
        greys, dots = {}, {}
        for kind in ("solid", "thin", "dash"):
            app.chart.show([curve("yes", np.full(900, 0.5), thin=kind == "thin", dash=kind == "dash")], x_end=1000)
            await pilot.pause()
            sent = app.chart.render_lines(app.chart.outer_size.region)
            segments = [segment for strip in sent for segment in strip if "\u2800" < max(segment.text) <= "\u28ff"]
            greys[kind] = {segment.style.color.get_truecolor() for segment in segments}
            drawn = [ord(c) for segment in segments for c in segment.text if c > "\u2800"]
            dots[kind] = sum((code - 0x2800).bit_count() for code in drawn)
            assert ("yes +0.50" in "\n".join(app.rows())) == (kind != "thin")
        assert all(red == green == blue for kind in greys for red, green, blue in greys[kind])
        assert max(greys["thin"]) < min(greys["solid"])
        assert greys["dash"] == greys["solid"]
        assert dots["dash"] == pytest.approx(dots["solid"] * 5 / 8, rel=0.05)


async def test_zoom_pan_and_fit():
    app = Shown()
    async with app.run_test(size=(100, 20)) as pilot:
        chart = app.chart
        chart.show([curve(y=STEPS[:401])], x_end=1000)
        await pilot.pause()
        assert chart.x_range == (0, 1000)
        chart.pan(0.5)
        assert chart.x_range == (0, 1000)
        chart.zoom(2)
        low, high = chart.x_range
        assert high - low == 500
        assert low <= 200 <= high  # the middle of the data stays in view
        chart.pan(9)
        assert chart.x_range == (500, 1000)
        chart.pan(-9)
        assert chart.x_range == (0, 500)
        chart.zoom(5, at=0)
        assert chart.x_range == pytest.approx((0, 100))
        assert any("chosen +100.00" in row for row in app.rows())  # the value where the line leaves the picture
        chart.zoom(0.5)
        assert chart.x_range == pytest.approx((0, 200))
        for _ in range(60):
            chart.zoom(2)
        assert chart.x_range[1] > chart.x_range[0]
        chart.fit()
        assert chart.x_range == (0, 1000)
        chart.set_cursor(1000.0)
        chart.zoom(2)
        chart.pan(-0.5)
        chart.zoom(2)
        assert 250 <= chart.x_range[0] < chart.x_range[1] <= 750  # towards no crosshair that is out of sight
        chart.set_cursor(None)
        chart.fit()
        chart.show([curve(y=STEPS)], x_end=500)
        assert chart.x_range == (0, 999)


async def test_crosshair_reads_the_nearest_point():
    app = Shown()
    y = STEPS / 1000
    y[500] = np.nan
    short = Curve("evals", np.array([0.0, 100, 200, 300]), np.array([1.0, 2, 3, 4]), "a", marks=True)
    async with app.run_test(size=(100, 20)) as pilot:
        chart = app.chart
        chart.show([short, curve(y=y)], x_end=1000)
        await pilot.pause()
        assert app.rows()[0].split()[0] != "step"
        chart.set_cursor(160.4)
        assert app.rows()[0].rstrip() == "step 160  chosen +0.16  evals +3.00 @200"
        chart.set_cursor(199.8)
        assert app.rows()[0].rstrip() == "step 200  chosen +0.20  evals +3.00"
        chart.set_cursor(499.8)
        assert app.rows()[0].rstrip() == "step 500  chosen –"
        chart.set_cursor(None)
        chart.move_cursor(1)
        assert chart.cursor == 999
        chart.move_cursor(-1)
        assert chart.cursor < 999
        chart.move_cursor(-1000)
        assert chart.cursor == 0
        chart.smoothing = 10
        chart.set_cursor(100.0)
        assert np.mean(np.arange(91, 101) / 1000) == pytest.approx(0.0955)
        assert app.rows()[0].startswith("step 100  chosen +0.10 ")


async def test_mouse_sets_the_crosshair_and_the_wheel_zooms():
    app = Shown()
    async with app.run_test(size=(100, 20)) as pilot:
        app.chart.show([curve()], x_end=1000)
        await pilot.pause()
        await pilot.mouse_down(Chart, offset=(40, 10))
        first = app.chart.cursor
        rows = app.rows()
        assert {row[39] for row in rows[3:-1]} - {"│"} <= {chr(code) for code in range(0x2801, 0x2900)}
        await pilot.hover(Chart, offset=(60, 10))
        assert app.chart.cursor > first
        await pilot.mouse_up(Chart, offset=(60, 10))
        dragged = app.chart.cursor
        await pilot.hover(Chart, offset=(20, 10))
        assert app.chart.cursor == dragged
        x, y = app.chart.region.x + 40, app.chart.region.y + 10
        app.screen._forward_event(events.MouseScrollUp(None, x, y, 0, 0, 0, False, False, False, x, y))
        await pilot.pause()
        low, high = app.chart.x_range
        assert high - low == pytest.approx(800)
        assert low < first < high


async def test_log_axis_leaves_out_what_is_not_positive_and_refits():
    app = Shown(y_format=".3g")
    y = np.append(10.0 ** np.linspace(-3, 2, 500), [-5.0, 0.0, 1.0])
    async with app.run_test(size=(100, 30)) as pilot:
        app.chart.show([curve("loss", y=y)])
        app.chart.log_y = True
        await pilot.pause()
        left = "\n".join(row[:8] for row in app.rows())
        for tick in ("0.001┤", "0.01┤", "0.1┤", "1┤", "10┤", "100┤"):
            assert tick in left
        assert any("loss 1" in row for row in app.rows())


async def test_range_widens_to_a_near_guide_and_points_to_a_far_one():
    app = Shown()
    async with app.run_test(size=(100, 20)) as pilot:
        app.chart.show([curve(y=STEPS / 1000)], [Guide(1.5, "near"), Guide(50, "far")])
        await pilot.pause()
        text = "\n".join(app.rows())
        assert "far ↑" in text
        assert "near" in text.replace("near ↑", "")
        app.chart.show([curve(y=STEPS / 1000)], y_fixed=(0, 10))
        assert "10┤" in "\n".join(app.rows())


async def test_empty_chart_has_axes_guides_and_a_text():
    app = Shown(empty="first point after step 1")
    async with app.run_test(size=(100, 20)) as pilot:
        app.chart.show([curve(y=[np.nan])], [Guide(0, "start")], x_end=1000)
        await pilot.pause()
        assert all(part in "\n".join(app.rows()) for part in ("first point after step 1", "start", "0┤", "1000"))


async def test_redraw_of_four_curves_of_5_000_points_is_cheap():
    app, rng = Shown(), np.random.default_rng(0)
    lines = [np.linspace(0, slope, 5100) + rng.normal(0, 0.05, 5100) for slope in (-1, 0.2, -0.5, 0.6)]
    async with app.run_test(size=(140, 45)):
        costs = []
        for points in range(5000, 5020):
            begun = time.process_time()
            app.chart.show([curve(name, y[:points]) for name, y in zip("abcd", lines, strict=True)], x_end=5100)
            app.rows()
            costs.append(time.process_time() - begun)
        assert sorted(costs)[10] < 0.03  # 6 ms on a slow core; five times that is a mistake
