"""A voice's side: it follows what it says, unless somebody scrolled up, and draws no more than what grows."""

import pytest
from textual.app import App
from textual.widgets import Static

from mio_tui.chat.side import VoicePanel
from mio_tui.chat.transcript import Reply, Turn
from tests.helpers.tui.screens import screen_text


class One(App[None]):
    def compose(self):
        yield VoicePanel("one")


def answered(text):
    return Turn("What?", {"one": [Reply("one", text, "ended", [])]})


@pytest.fixture
async def shown():
    app = One()
    async with app.run_test(size=(40, 12)) as pilot:
        panel = app.query_one(VoicePanel)

        async def say(text):
            panel.hear(text)
            for _ in range(2):  # the second is where the first has its height
                panel.draw()
                await pilot.pause()

        yield app, pilot, panel, say


async def test_what_grows_follows_the_question_as_the_whole_will(shown):
    app, pilot, panel, say = shown
    panel.begin([Turn("What?")])
    await say("a\tb \u202e[red]\x1b")
    rows = screen_text(app)[1:4]
    assert [row.strip("│ ") for row in rows] == ["You  What?", "", "a       b \\u{202e}[red]\\u{1b}▌"]
    panel.end("")
    panel.show([answered("a\tb \u202e[red]\x1b")])
    await pilot.pause()
    assert screen_text(app)[1:4] == [row.replace("▌", " ") for row in rows]


async def test_it_stays_where_somebody_scrolled_to(shown):
    _, pilot, panel, say = shown
    panel.begin([answered("line\n" * 30), Turn("What?")])
    await say("more\n" * 5)
    assert panel.scroll_y == panel.max_scroll_y > 0
    panel.scroll_relative(y=-8, animate=False)
    await pilot.pause()
    there = panel.scroll_y
    await say("more\n" * 5)
    assert panel.scroll_y == there < panel.max_scroll_y
    panel.scroll_relative(y=100, animate=False)
    await pilot.pause()
    await say("more\n" * 5)
    assert panel.scroll_y == panel.max_scroll_y


async def test_turns_that_are_over_are_drawn_once(shown, monkeypatch):
    _, _, panel, say = shown
    panel.begin([answered("line\n" * 30), Turn("What?")])
    drawn = []
    update = Static.update
    monkeypatch.setattr(Static, "update", lambda self, text: drawn.append(self.id) or update(self, text))
    await say("more")
    assert set(drawn) == {"growing"}
