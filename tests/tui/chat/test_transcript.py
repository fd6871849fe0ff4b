"""What a chat's turns are sent and saved as."""

import re

import pytest

from mio_local.chat.chat_client import ChatClient
from mio_local.chat.start import ChatStart
from mio_local.errors import DataError
from mio_tui.app import MioApp
from mio_tui.chat.transcript import Conversation, Reply, Turn
from tests.helpers import fakes
from tests.helpers.tui.screens import screen_text, seen, until

ASKED = [{"role": "user", "content": "q"}]


def turn(**texts):
    """An answered turn."""
    return Turn("q", {voice: [Reply(voice, text, "ended", ASKED) for text in said] for voice, said in texts.items()})


@pytest.mark.parametrize(
    ("answered", "kept"),
    [
        (turn(base=["b"], one=["a"]), "one"), (turn(one=["a"], base=["b"]), "one"), (turn(base=["b"]), "base"),
        (turn(base=["b"], one=[" \n"]), "base"), (turn(one=["a"], base=[]), "one"), (turn(base=[""]), ""),
        (Turn("q"), ""),
    ],
)  # fmt: skip
def test_the_conversation_goes_on_from_who_answered(answered, kept):
    assert answered.kept == kept


def test_the_better_one_is_kept():
    answered = turn(base=["b"], one=["a"])
    answered.better = "base"
    assert answered.kept == "base"


def test_a_question_that_nobody_answered_is_not_sent_again():
    talk = Conversation([turn(one=["a"]), turn(one=[""])])
    talk.ask("next")
    assert [message["content"] for message in talk.messages("S")] == ["S", "q", "a", "next"]


@pytest.mark.parametrize(("end", "text", "told"), [
    ("cut", "a", "one was cut at max_tokens; raise max_tokens"), ("stopped", "a", "one was stopped; press ctrl"),
    ("ended", " \n", "one said nothing"), ("ended", "b", "the same"),
])  # fmt: skip
def test_what_is_no_whole_answer_makes_no_pair(end, text, told):
    last = turn(base=["b"], one=["a"])
    last.answers["one"].append(Reply("one", text, end, ASKED))
    with pytest.raises(DataError, match=told):
        Conversation([last]).pair(["base", "one"])


def test_answers_to_different_words_make_no_pair():
    last = turn(base=["b"], one=["a"])
    last.answers["one"].append(Reply("one", "c", "ended", [{"role": "system", "content": "S"}, *ASKED]))
    for voices in (["base", "one"], ["one"]):
        with pytest.raises(DataError, match="not asked the same"):
            Conversation([last]).pair(voices)


def test_a_pair_is_of_two_voices_or_of_one_voices_last_two():
    last = turn(base=["b"], one=["x", "a", "c"], two=["d"])
    for voices, pair in ((["base", "one", "two"], ["b", "c"]), (["one"], ["a", "c"])):
        assert [reply.text for reply in Conversation([last]).pair(voices)] == pair


async def test_a_key_begins_a_fresh_conversation_on_both_sides(tmp_path, monkeypatch):
    async def opened(self, runs, start, progress):
        return {"voices": ["base", "one"], "model": "m", "system": ""}

    monkeypatch.setattr(ChatClient, "open", opened)
    fakes.make_run(tmp_path, "one")
    app = MioApp(tmp_path, chat=ChatStart(["one"]))
    async with app.run_test(size=(80, 24)) as pilot:
        await until(pilot, lambda: getattr(app.screen, "ready", False))
        assert {"^l New", "esc Back"} <= set(re.findall(r"\^l New|esc Back", screen_text(app)[-1]))
        screen = app.screen
        turn = screen.talk.ask("How many pens?")
        turn.answers = {voice: [Reply(voice, f"{voice} says", "ended", [])] for voice in ("base", "one")}
        screen.show_turns()
        await until(pilot, lambda: "one says" in seen(pilot) and "base says" in seen(pilot))
        screen.busy = True
        await pilot.press("ctrl+l")
        assert screen.talk.turns
        screen.busy = False
        await pilot.press("ctrl+l")
        await until(pilot, lambda: "says" not in seen(pilot) and "pens" not in seen(pilot))
        assert screen.talk.turns == []
