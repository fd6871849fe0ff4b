"""Every text of every screen can be read in every theme: a contrast of 4.5, found from what is drawn."""

import pytest
from rich.color_triplet import ColorTriplet
from textual.color import Color
from textual.theme import BUILTIN_THEMES
from textual.widgets import Input

from mio_local.chat.chat_client import ChatClient
from mio_local.chat.start import ChatStart
from mio_tui.app import MioApp
from mio_tui.contrast import lifted
from mio_tui.screens.chat import ChatScreen
from mio_tui.screens.live import LiveScreen
from mio_tui.screens.make_pairs import MakePairsScreen
from mio_tui.theme import DARK, DEFAULTS, LIGHT
from tests.helpers import fakes
from tests.helpers.some import fast
from tests.helpers.tui import wcag
from tests.helpers.tui.make_pages import pair, write_pairs
from tests.helpers.tui.new_run_form import stage
from tests.helpers.tui.screens import seen, until

OURS = (DARK.name, LIGHT.name)
# an ansi theme has the terminal's own colours, which nobody but the terminal knows
OTHERS = sorted(name for name, theme in BUILTIN_THEMES.items() if not theme.ansi)
THEMES = fast([*OURS, *OTHERS], [DARK.name])


@pytest.fixture
def app(request, monkeypatch, tmp_path):
    """The app in a theme, on a run that trains, one that failed and one that is done; its chat answers at once."""

    async def opened(self, runs, start, progress):
        return {"voices": ["base", "done"], "model": "m", "system": ""}

    async def answered(self, messages, voice, sampling, told):
        return {"whole": f"{voice} answers", "tokens": 2, "seconds": 1.0, "end": "ended"}

    monkeypatch.setattr(ChatClient, "open", opened)
    monkeypatch.setattr(ChatClient, "answer", answered)
    with stage(monkeypatch, tmp_path) as folder:
        monkeypatch.setenv("MIO_LOCAL_THEME", request.param)
        fakes.make_run(folder, "failed", state="failed", steps=430, loss="dpo", reason="MLX ran out of memory")
        fakes.make_run(folder, "done")
        with fakes.alive(fakes.make_run(folder, "training", state="training", steps=412)):
            yield MioApp(folder)


async def walk(app, pilot):
    """From screen to screen by keys; stops wherever there is something new to read."""
    await until(pilot, lambda: isinstance(app.screen, LiveScreen) and app.screen.was_read)
    await pilot.press("p", "left")
    await pilot.pause(0.1)
    yield "live, with a request and a crosshair"
    await pilot.press("x")
    await until(pilot, lambda: "Stop training?" in seen(pilot))
    yield "a question"
    await pilot.press("escape", "f1")
    await until(pilot, lambda: "Keys: Live" in seen(pilot))
    yield "help"
    await pilot.press("escape", "full_stop")
    await until(pilot, lambda: "Train again with changes" in seen(pilot))
    yield "the menu of a run"
    await pilot.press("escape", "c")
    await until(pilot, lambda: "Compare" in seen(pilot))
    await pilot.pause(0.3)
    yield "compare"
    await pilot.press("escape", "escape", "escape", "escape")
    await until(pilot, lambda: "runs 3" in seen(pilot))
    await pilot.resize_terminal(80, 24)
    await pilot.press("space", "slash", "i")
    app.notify("information", title="title")
    app.notify("warning", severity="warning")
    app.complain("error")
    await until(pilot, lambda: "information" in seen(pilot))
    yield "the list, filtered, with all kinds of notices"
    await pilot.press("enter", "enter")
    for panel in "145678":
        await pilot.press(panel)
        await pilot.pause(0.1)
        yield f"live, narrow, panel {panel}"
    app.new_like(app.screen.watched.run, lambda tables: tables, "Model")
    await pilot.pause(0.5)
    for step in range(4):
        app.screen.go(step)
        await pilot.pause(0.3)
        yield f"a new run, step {step}"
    app.make_pairs({"model": {"name": "m"}})
    await until(pilot, lambda: isinstance(app.screen, MakePairsScreen) and app.screen.offers)
    await pilot.press("enter", "x")
    await until(pilot, lambda: "no such judge" in seen(pilot))
    yield "the form that makes pairs"
    app.review_pairs(write_pairs(app.folder / "pairs.jsonl", [pair(0), pair(1)]), {})
    await until(pilot, lambda: "1 of 2" in seen(pilot))
    yield "a review by hand"
    app.chat(ChatStart(["done"]))
    await until(pilot, lambda: isinstance(app.screen, ChatScreen) and app.screen.ready)
    app.screen.query_one("#ask", Input).value = "What?"
    await pilot.press("enter")
    await until(pilot, lambda: "2 tok/s" in seen(pilot))
    yield "chat"


@pytest.mark.slow
@pytest.mark.parametrize("app", THEMES, indirect=True)
async def test_all_text_can_be_read(app):
    poor = []
    async with app.run_test(size=(140, 45), notifications=True) as pilot:
        async for place in walk(app, pilot):
            found = list(wcag.words(app))
            assert len(found) > 4, place
            poor += [(place, words) for words in found if words.contrast < 4.5]
    assert not poor


@pytest.mark.parametrize("theme", [DARK, LIGHT], ids=OURS)
@pytest.mark.parametrize("ground", ["background", "surface", "panel"])
def test_the_colours_of_our_themes_need_no_help(theme, ground):
    """Of the variables that text is written in, on each ground that the screens have."""
    variables = {**theme.to_color_system().generate(), **theme.variables}
    names = ["foreground", "primary", "secondary", "accent", "warning", "error", "success", "footer-key-foreground"]
    for name in [*names, *DEFAULTS]:
        colors = [Color.parse(variables[each]).rich_color.get_truecolor() for each in (name, ground)]
        assert wcag.contrast(*colors) >= 4.5, name


def test_a_colour_moves_no_further_than_it_must():
    dark, light = ColorTriplet(18, 18, 18), ColorTriplet(255, 255, 255)
    assert lifted(ColorTriplet(86, 180, 233), dark) == (86, 180, 233)
    for color, behind in (((58, 58, 58), dark), ((213, 94, 0), light), ((120, 120, 120), ColorTriplet(118, 118, 118))):
        moved = lifted(ColorTriplet(*color), behind)
        assert 4.5 <= wcag.contrast(moved, behind) < 5.1
