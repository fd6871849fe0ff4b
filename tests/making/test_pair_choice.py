"""Which pairs answers and their rewards make: worked out by hand."""

from collections import Counter

import pytest

from mio_local.learning import MakeSettings
from mio_local.making.answered import Answered, Asked
from mio_local.making.pair_choice import Filters, choose

ASKED = Asked("q", None, "here")


def made(texts, rewards, logps=None, given=None, cut=None, **settings):
    answered = Answered(ASKED, tuple(texts), tuple(cut or [False] * len(texts)))
    left = Filters()
    found = choose(answered, tuple(rewards), MakeSettings(**settings), len, left, logps, given)
    return [(pair.chosen, pair.rejected) for pair in found], left


def test_the_best_with_the_worst_and_the_first_drawn_of_equals():
    assert made("abcde", [1, 3, 0, 3, 0])[0] == [("b", "c")]


def test_all_better_with_all_worse():
    pairs, _ = made("abc", [1, 2, 0], pairs="all")
    assert pairs == [("b", "c"), ("b", "a"), ("a", "c")]


def test_the_hardest_is_the_likeliest_of_the_worse():
    assert made("abcd", [2, 1, 0, 0], [-9, -2, -1, -3], negatives="hardest")[0] == [("a", "c")]
    assert made("abcd", [2, 1, 0, 0], [-9, -2, -5, -3], negatives="hardest", margin=2)[0] == [("a", "d")]


def test_margin_and_length_choose_the_next_pair_and_are_counted():
    pairs, left = made("abc", [1, 0.9, 0.8], margin=0.15)
    assert (pairs, left.pairs) == ([("a", "c")], Counter({"margin under 0.15": 2}))
    pairs, left = made(["aa", "b" * 9, "cc"], [1, 0, 0.5], length_ratio=2)
    assert (pairs, left.pairs) == ([("aa", "cc")], Counter({"one answer over 2 times as long": 2}))
    pairs, left = made("abc", [1, 0.9, 0.8], margin=3)
    assert (pairs, left.prompts) == ([], Counter({"no pair passes the filters": 1}))


def test_what_may_stand_in_no_pair():
    """The best is cut, the worst blank, one is repeated, one has no reward."""
    pairs, left = made(["a", " ", "b", "b ", "c", "d"], [9, 0, 5, 5, None, 4], cut=[True, *[False] * 5])
    assert pairs == [("b", "d")]
    assert left.answers == {"cut at the token limit": 1, "empty": 1, "repeated": 1, "without a reward": 1}


@pytest.mark.parametrize(
    ("rewards", "why"),
    [([1, 1], "with all rewards equal"), ([None, None], "with no reward")],
)
def test_prompts_without_a_pair_say_why(rewards, why):
    pairs, left = made("ab", rewards)
    assert (pairs, left.prompts) == ([], Counter({why: 1}))


def test_pairs_that_a_judge_makes_pass_the_same_filters():
    given = [("gold", "a"), ("gold", "bbbbbbbbb"), ("gold", "gold")]
    pairs, left = made(["a", "bbbbbbbbb"], [0, 0], given=given, pairs="all", length_ratio=3)
    assert (pairs, left.pairs.total()) == ([("gold", "bbbbbbbbb")], 1)
    assert made(["a", "bbbbbbbbb"], [0, 0], [-3, -1], given, negatives="hardest")[0] == [("gold", "bbbbbbbbb")]
    assert made(["a", "b"], [0, 0], given=given, cut=[True, False])[0] == [("gold", "bbbbbbbbb")]
