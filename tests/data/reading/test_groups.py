"""Rows with several answers, rewards or labels, read as groups; the groups expected are written out."""

import random

import pytest

pytest.importorskip("hypothesis")
from hypothesis import given, settings
from hypothesis import strategies as st

from mio_local.data.detect import detect
from mio_local.data.formats.row import Row
from mio_local.data.messages import BadRow
from mio_local.data.pairs import Pair
from mio_local.data.reading.wanted import PAIRS, Wanted
from tests.helpers.layout_rows import TALK, UNPAIRED, bot, user
from tests.helpers.loading import fault, load

THREE, REWARDS, SAMPLES, LABELS = Wanted(3), Wanted(1, "rewards"), Wanted(1, "samples"), Wanted(1, "labels")
MADE = {"prompt": "q", "chosen": "a", "rejected": "d", "answers": ["a", "b", "c", "d", "e", "f"],
        "rewards": [1, 0.5, 0.25, 0, 0, 1], "judge": "boxed", "seed": 0, "model": "m", "revision": "r"}  # fmt: skip
SCORED = [("a", 2), ("b", 4), ("c", 1), ("d", 2)]
RANKED = {"prompt": "q", "completions": [{"response": answer, "score": score} for answer, score in SCORED]}


def groups(pairs):
    return [(pair.answers, pair.rewards) for pair in pairs]


def test_a_made_file_is_pairs_unless_more_is_wanted(tmp_path):
    pairs = load(tmp_path, MADE)
    assert list(pairs) == [Pair("q", "a", "d", "f.jsonl line 1")]
    assert pairs.layout == "text"
    assert pairs.unused == ["answers", "rewards", "judge", "seed", "model", "revision"]
    assert not {"answers", "rewards"} & {*load(tmp_path, MADE, wanted=THREE).unused}


@pytest.mark.parametrize(
    ("row", "wanted", "expected"),
    [
        # the row's own rejected answer first, then by the lowest reward, in the row's order where it is equal
        (MADE, THREE, [(("a", "d", "e", "c"), ())]),
        (MADE, Wanted(9), [(("a", "d", "e", "c", "b"), ())]),
        (MADE, REWARDS, [(("a", "d"), (1.0, 0.0))]),
        (MADE, Wanted(3, "rewards"), [(("a", "d", "e", "c"), (1.0, 0.0, 0.0, 0.25))]),
        (MADE, SAMPLES, [(("a", "b", "c", "d", "e", "f"), (1.0, 0.5, 0.25, 0.0, 0.0, 1.0))]),
        # a known answer that was not drawn has no reward: what is no better than the rejected one is rejected too
        ({**MADE, "chosen": "gold"}, THREE, [(("gold", "d", "e"), ())]),
        ({**MADE, "chosen": "gold"}, REWARDS, [(("a", "d"), (1.0, 0.0))]),
        ({**MADE, "answers": ["a", "d", "x", "x", "d"], "rewards": [1, 0, 0, 0, 0]}, THREE, [(("a", "d", "x"), ())]),
        ({**MADE, "answers": ["d"] * 3, "rewards": [1, 1, 1]}, SAMPLES, [(("d", "d", "d"), (1.0, 1.0, 1.0))]),
        (RANKED, THREE, [(("b", "c", "a", "d"), ())]),
        (RANKED, Wanted(2, "rewards"), [(("b", "c", "a"), (4.0, 1.0, 2.0))]),
        (RANKED, SAMPLES, [(("a", "b", "c", "d"), (2.0, 4.0, 1.0, 2.0))]),
        ({"prompt": "q", "answers": ["a", "b", "c"], "rewards": [0, 0, 0]}, SAMPLES, [(("a", "b", "c"), (0.0,) * 3)]),
        ({"prompt": "q", "chosen": "a", "rejected": ["b", "c", "b"]}, THREE, [(("a", "b", "c"), ())]),
        ({"prompt": "q", "chosen": "a", "rejected": ["b", "c"], "chosen_reward": 2, "rejected_reward": [1, 0]},
         Wanted(2, "rewards"), [(("a", "c", "b"), (2.0, 0.0, 1.0))]),
        ({"instruction": "q", "output": ["a", "b", "c"]}, THREE, [(("a", "b", "c"), ())]),
        ({"messages": [*TALK, bot("a")], "rejected_response": ["b", "c"]}, THREE, [(("a", "b", "c"), ())]),
        ({"prompt": "q", "chosen": "a", "rejected": "b"}, THREE, [(("a", "b"), ())]),
        # a higher reward is what makes an answer the chosen one
        ({"prompt": "q", "chosen": [user("q"), bot("a")], "rejected": [user("q"), bot("b")], "score_chosen": 7.0,
          "score_rejected": 8.5}, REWARDS, [(("b", "a"), (8.5, 7.0))]),
        ({"prompt": "q", "chosen": [user("q"), bot("a")], "rejected": [user("q"), bot("b")],
          "all_generated_responses": ["a", "x", "b"], "all_rm_scores": [0.3, 0.2, 0.1]},
         Wanted(2, "rewards"), [(("a", "b", "x"), (0.3, 0.1, 0.2))]),
        ({"prompt": "q", "chosen": "a", "rejected": "b", "chosen_score": "2.5", "rejected_score": "-1"}, SAMPLES,
         [(("a", "b"), (2.5, -1.0))]),
        (MADE, LABELS, [(("a", "d"), ())]),
    ],
)  # fmt: skip
def test_groups(tmp_path, row, wanted, expected):
    assert groups(load(tmp_path, row, wanted=wanted)) == expected


def test_what_nobody_judged_or_said_is_left_out_and_counted(tmp_path):
    row = {**MADE, "rewards": [1, None, 0.25, 0, 0, None], "answers": ["a", "b", " ", "d", "d", "f"]}
    pairs = load(tmp_path, row, wanted=THREE)
    assert groups(pairs) == [(("a", "d"), ())]
    assert pairs.answers_left == {"without a reward": 2, "without text": 1, "repeated in their group": 1}
    pairs = load(tmp_path, row, wanted=SAMPLES)
    assert groups(pairs) == [(("a", "d", "d"), (1.0, 0.0, 0.0))]
    assert pairs.answers_left == {"without a reward": 2, "without text": 1}


@pytest.mark.parametrize("wanted", [PAIRS, THREE, LABELS])
def test_a_prompt_whose_answers_made_no_pair_stops_nothing(tmp_path, wanted):
    equal = {**MADE, "chosen": None, "rejected": None, "rewards": [1] * 6}
    pairs = load(tmp_path, MADE, equal, wanted=wanted)
    assert (len(pairs), pairs.skipped, pairs.problem) == (1, {"no pair was made of its answers": 1}, "")
    assert len(load(tmp_path, MADE, equal, wanted=SAMPLES)) == 2


@pytest.mark.parametrize(
    ("row", "wanted", "words"),
    [
        ({"prompt": "q", "chosen": "a", "rejected": "b"}, REWARDS, "f.jsonl line 1: its answers have no reward; give"),
        ({"prompt": "q", "chosen": "a", "rejected": "b"}, SAMPLES, "columns chosen_reward and rejected_reward"),
        ({"prompt": "q", "chosen": "a", "rejected": ["b"]}, REWARDS, "its answers have no reward"),
        ({"prompt": "q", "response_a": "a", "response_b": "b", "winner": "a"}, REWARDS, "its answers have no reward"),
        (UNPAIRED[0][1][0], SAMPLES, "its answers have no reward"),
        ({**MADE, "rewards": [1, "high", 0, 0, 0, 0]}, THREE, "rewards must be a number for each answer"),
        ({**MADE, "rewards": [1, float("nan"), 0, 0, 0, 0]}, SAMPLES, "rewards must be a number for each answer"),
        ({**MADE, "rewards": [1, float("inf"), 0, 0, 0, 0]}, REWARDS, "or null, not inf"),
        ({**MADE, "rewards": [1, 10**400, 0, 0, 0, 0]}, REWARDS, "rewards must be a number for each answer"),
        ({**MADE, "rewards": [1]}, THREE, "rewards must have a number for each of answers (1 for 6)"),
        ({"prompt": "q", "answers": ["a"], "rewards": [1]}, SAMPLES, "answers has fewer than two answers with a rew"),
        ({"prompt": "q", "chosen": "a", "rejected": "b", "score_chosen": "x", "score_rejected": 1}, REWARDS,
         "score_chosen must be a number for each answer, or null, not x"),
    ],
)  # fmt: skip
def test_one_line_names_the_row_and_the_fault(tmp_path, row, wanted, words):
    assert words in fault(tmp_path, row, wanted=wanted)


@pytest.mark.parametrize(("layout", "rows"), UNPAIRED)
def test_a_labelled_answer_stands_alone(tmp_path, layout, rows):
    pairs = load(tmp_path, rows[0], *rows, wanted=LABELS)  # two good ones and a bad one: none waits for another
    assert [pair.answers for pair in pairs] == [("good", ""), ("good", ""), ("", "bad")]
    assert (pairs.layout, pairs.skipped) == (layout, {})
    assert pairs.repetitions().labels == [2, 1]


def test_negatives_that_the_data_has_not_are_told(tmp_path):
    plain = {"prompt": "q", "chosen": "a", "rejected": "b"}
    (note,) = load(tmp_path, plain, wanted=THREE).notes
    assert "loss.negatives is 3, and no row has more than one rejected answer" in note
    assert load(tmp_path, plain).notes == load(tmp_path, plain, {**MADE, "prompt": "r"}, wanted=THREE).notes == []


def test_groups_are_kept_apart_from_pairs_and_read_back(tmp_path):
    for wanted in (PAIRS, THREE, REWARDS, SAMPLES, PAIRS, SAMPLES):
        fresh, again = (load(tmp_path, MADE, wanted=wanted) for _ in range(2))
        assert list(fresh) == list(again)
        assert again.answers_left == fresh.answers_left
        assert again.repetitions().rewards == fresh.repetitions().rewards
    keys = {load(tmp_path, MADE, wanted=wanted).key for wanted in (PAIRS, THREE, REWARDS, SAMPLES, LABELS)}
    assert len(keys) == 5


def test_what_a_pass_over_groups_counts(tmp_path):
    row = {"prompt": "q", "chosen": "a", "rejected": ["b", "c"]}
    turned = {"prompt": "q", "chosen": "c", "rejected": ["x", "a", "y"]}
    found = load(tmp_path, row, row, turned, wanted=THREE).repetitions()
    assert (found.prompts, found.duplicates, found.identical, found.contradictory) == (1, 1, 0, 3)
    assert [*found.answers] == [3, 3, 4]
    assert load(tmp_path, MADE, wanted=SAMPLES).repetitions().rewards == pytest.approx([2.75 / 6, 0, 1])


def test_conversations_of_a_group_part_where_the_first_of_them_does(tmp_path):
    talk = [user("q"), bot("a"), user("r")]
    row = {"chosen": [*talk, bot("good")], "rejected": [[*talk, bot("bad")], [user("q"), bot("b")]]}
    (pair,) = load(tmp_path, row, wanted=THREE)
    assert pair.prompt == [user("q")]
    assert pair.answers == ([*talk[1:], bot("good")], [*talk[1:], bot("bad")], "b")


TEXT = st.sampled_from(["", " ", "a", "b", "cat", "é🙂", "\n x", "42"])
WANTED = st.builds(Wanted, st.integers(1, 4), st.sampled_from(["pairs", "rewards", "samples", "labels"]))
REWARD = st.one_of(st.none(), st.integers(-2, 2), st.floats(-1e6, 1e6))


@pytest.mark.slow
@settings(max_examples=300, derandomize=True, database=None, deadline=None)
@given(drawn=st.lists(st.tuples(TEXT, REWARD), max_size=7), chosen=TEXT, rejected=TEXT, wanted=WANTED)
def test_no_answer_of_a_row_is_gone_without_a_word(drawn, chosen, rejected, wanted):
    """It is in the group, or counted, or one too many, or of no lower reward; or the row is refused."""
    values = {"prompt": "q", "chosen": chosen, "rejected": rejected,
              "answers": [text for text, _ in drawn], "rewards": [reward for _, reward in drawn]}  # fmt: skip
    full = {"prompt": "q", "chosen": "a", "rejected": "b", "answers": ["a", "b"], "rewards": [1, 0]}
    match = detect([Row(full, "line 1"), Row(full, "line 2"), Row(values, "line 3")], {}, "f", wanted=wanted)
    try:
        ((_, *answers), rewards), *more = match.groups(Row(values, "line 3"))
    except BadRow as error:
        if not str(error).startswith("line 3: "):
            raise
        return
    assert not more
    assert len(rewards) == (len(answers) if wanted.rewarded else 0)
    assert all(answer.strip() for answer in answers)
    usable = [(text, float(reward)) for text, reward in drawn if text.strip() and reward is not None]
    left = match.answers_left
    if wanted.groups:
        assert left["without text"] + left["without a reward"] == len(drawn) - len(usable)
    if wanted.needs == "samples":
        assert list(zip(answers, rewards, strict=True)) == usable or not drawn
        return
    assert len(answers) <= 1 + wanted.negatives
    assert len({*answers}) == len(answers) or not wanted.groups
    if wanted.needs == "rewards":
        assert rewards[0] == max(rewards)
    if wanted.groups and wanted.needs != "rewards" and len(answers) <= wanted.negatives:  # room was left
        better = dict(reversed(usable))
        if chosen in better:
            assert {text for text, reward in better.items() if reward < better[chosen]} <= {*answers}


def test_the_order_of_the_drawn_answers_of_one_reward_is_that_of_the_row(tmp_path):
    letters = list("abcdefgh")
    random.Random(0).shuffle(letters)
    row = {"prompt": "q", "answers": letters, "rewards": [float(letter == "a") for letter in letters]}
    ((answers, _),) = groups(load(tmp_path, row, wanted=Wanted(7)))
    assert answers == ("a", *[letter for letter in letters if letter != "a"])
