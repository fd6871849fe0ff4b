"""What the preview shows of a group: every answer by its name, and how many there are beyond those."""

import pytest

from mio_local.data.examples import Example
from mio_local.data.pairs import Pair
from mio_local.data.template import Chat
from mio_local.preview.shown import SHOWN_ANSWERS, text_parts, token_parts
from tests.helpers.templates import CHATML, tokenizer_for


def roles(parts):
    return [part["role"] for part in parts]


@pytest.mark.parametrize(
    ("pair", "expected"),
    [
        (Pair("q", "a", "b", "1"), ["chosen", "rejected"]),
        (Pair("q", "a", "", "1"), ["chosen"]),
        (Pair("q", "", "b", "1"), ["rejected"]),
        (Pair("q", "a", "b", "1", None, ("c", "d")), ["chosen", "rejected", "rejected 2", "rejected 3"]),
        (Pair("q", "a", "b", "1", None, (), (1.0, 0.25)), ["chosen, reward 1", "rejected, reward 0.25"]),
        (Pair("q", "a", "b", "1", None, ("a",), (1.0, 0.0, 1.0), sampled=True),
         ["answer 1, reward 1", "answer 2, reward 0", "answer 3, reward 1"]),
    ],
)  # fmt: skip
def test_every_answer_by_its_name(pair, expected):
    chat = Chat(tokenizer_for(CHATML), "none", 0.0)
    shown = text_parts(pair)
    tokens = token_parts(chat, chat.encode(pair, 100), sampled=pair.sampled)
    assert roles(shown) == roles(tokens) == ["prompt", *expected]
    assert [part["pieces"][0][0] for part in shown[1:]] == [answer for answer in pair.answers if answer]
    assert all(part["scored"] for part in (*shown[1:], *tokens[1:]))


def test_more_answers_than_are_shown_are_counted():
    many = tuple(f"no {number}" for number in range(SHOWN_ANSWERS + 1))
    pair = Pair("q", "a", "b", "1", None, many)
    example = Example([1], [2], [3], False, False, False, "1", None, tuple([4, number] for number in range(len(many))))
    chat = Chat(tokenizer_for(CHATML), "none", 0.0)
    for parts in (text_parts(pair), token_parts(chat, example)):
        assert len(parts) == 1 + SHOWN_ANSWERS + 1
        assert parts[-1]["role"] == "3 more answers"
        assert parts[-1]["pieces"] == []
