"""A text of megabytes costs no minutes: it is cut, or refused, by its characters."""

import time

import pytest

from mio_local.data.pairs import Pair
from mio_local.data.template import Chat
from mio_local.data.templating import cutting
from mio_local.errors import DataError
from tests.helpers.byte_tokenizer import build

MEGABYTES = "the cat sat on the mat. " * 500_000  # 12 MB, of which this tokenizer reads 0.3 MB a second


@pytest.fixture
def chat():
    return Chat(build(), "none")


def test_a_long_answer_is_cut_to_the_tokens_that_it_has_when_whole(chat, monkeypatch):
    began = time.process_time()
    made = chat.encode(Pair("why?\n", MEGABYTES, "no", "row 1"), 100)
    assert time.process_time() - began < 5
    assert made.truncated_chosen
    monkeypatch.setattr(cutting, "LARGE", 10**9)
    assert made == chat.encode(Pair("why?\n", MEGABYTES[:50_000], "no", "row 1"), 100)


@pytest.mark.parametrize("long_prompt", ["error", "cut"])
def test_a_long_prompt_is_refused_before_it_is_tokenised(chat, long_prompt):
    began = time.process_time()
    with pytest.raises(DataError, match="row 1: prompt has 12,000,000 characters, more than"):
        chat.encode(Pair(MEGABYTES, "yes", "no", "row 1"), 100, long_prompt)
    encoded = chat.encode_all([Pair(MEGABYTES, "yes", "no", "row 1"), Pair("a\n", "b", "c", "row 2")], 100, "skip")
    assert (len(encoded.examples), encoded.skipped) == (1, {"prompt is too long": 1})
    assert time.process_time() - began < 5


def test_a_long_message_is_refused(chat):
    answer = [{"role": "assistant", "content": MEGABYTES}]
    with pytest.raises(DataError, match="row 1: an answer of 12,000,009 characters"):
        chat.encode(Pair("why?\n", answer, "no", "row 1"), 100)
