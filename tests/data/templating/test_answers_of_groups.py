"""Groups as tokens: each answer becomes what it becomes in a pair, whatever stands beside it."""

from dataclasses import replace

import pytest

from mio_local.data.pairs import Pair, Pairs
from mio_local.data.template import Chat
from mio_local.data.templating.coverage import REPEATED, told
from mio_local.errors import DataError
from tests.helpers.templates import CHATML, tokenizer_for, written

ASKED = [{"role": "user", "content": "the cat?"}]
SAID = ("yes", "no it is not so", "a mat", "the cat is good")
THOUGHT = [{"role": "assistant", "content": "a mat", "reasoning_content": "so"}]


@pytest.fixture(params=["chat", "text"])
def chat(request, tmp_path):
    tokenizer = tokenizer_for(CHATML)
    return Chat(tokenizer, written(tmp_path, CHATML) if request.param == "chat" else "none", 0.0)


def pair(*answers, **more):
    chosen, rejected, *others = answers
    return Pair(ASKED, chosen, rejected, "row 1", None, tuple(others), **more)


@pytest.mark.parametrize("answers", [SAID, (SAID[0], THOUGHT, *SAID[1:2], *SAID[3:])])
@pytest.mark.parametrize("limit", [100, 14])
def test_each_answer_is_tokenised_as_in_a_pair(chat, answers, limit):
    whole = chat.encode(pair(*answers), limit, "cut")
    assert len(whole.answers) == len(answers)
    if limit == 100:
        for place in range(1, len(answers)):
            alone = chat.encode(pair(answers[0], answers[place]), limit)
            assert (whole.prompt, whole.chosen, whole.answers[place]) == (alone.prompt, alone.chosen, alone.rejected)
    assert max(len(whole.prompt) + len(ids) for ids in whole.answers) <= limit
    both = chat.encode_all([pair(*answers)] * 20, limit, "cut").examples  # tokenised together
    assert (both[19].prompt, both[19].chosen, both[19].rejected) == (whole.prompt, whole.chosen, whole.rejected)


def test_a_cut_rejected_answer_is_marked_wherever_it_stands(chat):
    size = len(chat.encode(pair("yes", "no"), 100).prompt) + 3
    made = chat.encode(pair("yes", "no", "the cat is good and it was so"), size)
    assert (made.truncated_chosen, made.truncated_rejected) == (False, True)
    assert [len(made.prompt) + len(ids) <= size for ids in made.answers] == [True] * 3


@pytest.mark.parametrize("answers", [("yes", ""), ("", "no")])
def test_an_answer_that_is_not_there_has_no_tokens(chat, answers):
    made = chat.encode(pair(*answers), 100)
    both = chat.encode(pair("yes", "no"), 100)
    expected = [ids if answer else [] for ids, answer in zip(both.answers, answers, strict=True)]
    assert (made.prompt, [*made.answers]) == (both.prompt, expected)
    (many,) = chat.encode_all([pair(*answers)], 100).examples
    assert [*many.answers] == expected


def test_answers_that_become_the_same_tokens_stay_once_unless_they_are_samples(tmp_path):
    template = CHATML.replace("m['content']", "m['content'] | trim")
    chat = Chat(tokenizer_for(CHATML), written(tmp_path, template), 0.0)
    group = pair("yes", "no", "no ", "a mat", rewards=(1.0, 0.0, 0.5, 0.25))
    made = chat.encode(group, 100)
    assert (len(made.answers), made.rewards) == (3, (1.0, 0.0, 0.25))
    (line,) = told(chat.encode_all([group, pair(*SAID)], 100).lost)
    assert line == f"{REPEATED}: left out of 1 pair (first: row 1)"
    sampled = replace(group, sampled=True)
    assert len(chat.encode(sampled, 100).answers) == 4
    assert chat.encode(replace(sampled, rejected="yes", others=()), 100).answers[0]
    with pytest.raises(DataError, match="become the same tokens"):
        chat.encode(pair("yes", "yes "), 100)


def test_what_a_template_refuses_in_one_answer_refuses_the_group(tmp_path):
    template = "{% if 'mat' in messages[-1].content %}{{ raise_exception('no mats') }}{% endif %}" + CHATML
    chat = Chat(tokenizer_for(CHATML), written(tmp_path, template), 0.0)
    with pytest.raises(DataError, match="no mats"):
        chat.encode(pair(*SAID), 100)


def test_groups_are_packed_whole():
    made = [pair(*SAID, rewards=(1.0, 0.0, 0.5, 2.0), sampled=True), pair("yes", ""), pair("yes", "no", THOUGHT)]
    assert list(Pairs(made, "text", {}, 3, {})) == made == Pairs(made, "text", {}, 3, {})[:]
