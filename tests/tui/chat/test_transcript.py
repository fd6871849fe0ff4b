"""What a chat's turns are sent and saved as."""

import pytest

from mio_local.errors import DataError
from mio_tui.chat.transcript import Conversation, Reply, Turn

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
