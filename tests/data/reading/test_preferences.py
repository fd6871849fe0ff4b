"""Rows in which a label, a score or a rank tells the better answer; the pairs expected are written out."""


import pytest

from mio_local.data.pairs import load_pairs
from mio_local.recipe import DataSettings
from tests.helpers.layout_rows import TALK, UNPAIRED, bot, user
from tests.helpers.loading import fault, load, turns


@pytest.mark.parametrize(("layout", "rows"), UNPAIRED)
def test_unpaired(tmp_path, layout, rows):
    prompt = "q" if rows[0].get("prompt", rows[0].get("instruction")) == "q" else TALK
    for order in (rows, rows[::-1]):
        pairs = load(tmp_path, *order)
        assert (turns(pairs), pairs.layout, pairs.skipped) == ([(prompt, "good", "bad")], layout, {})
    assert pairs[0].where == "f.jsonl line 1 and f.jsonl line 2"


def test_unpaired_answers_are_joined_in_order_and_the_rest_counted(tmp_path):
    labels = [("q", "a", True), ("r", "b", False), ("q", "c", True), ("q", "d", False), ("q", "e", False),
              ("q", "f", False), ("s", "g", True)]  # fmt: skip
    pairs = load(tmp_path, *[{"prompt": p, "completion": c, "label": good} for p, c, good in labels])
    assert turns(pairs) == [("q", "a", "d"), ("q", "c", "e")]
    assert [pair.where for pair in pairs] == ["f.jsonl line 1 and f.jsonl line 4", "f.jsonl line 3 and f.jsonl line 5"]
    assert list(pairs.skipped.values()) == [3]
    assert (pairs.rows, pairs.problem) == (7, "")


def test_unpaired_without_any_pair(tmp_path):
    rows = [{"prompt": "q", "completion": "a", "label": True}, {"prompt": "r", "completion": "b", "label": False}]
    assert "unpaired data (prompt, label, completion): no prompt has both" in fault(tmp_path, *rows)
    assert "label must be true or false, or 1 or 0, not maybe" in fault(tmp_path, {**rows[0], "label": "maybe"})
    assert "label is missing" in fault(tmp_path, *rows, {**rows[0], "label": None})


A_B = {"prompt": "q", "response_a": "a", "response_b": "b"}
SCORED = {"context": TALK, "response1": "a", "response2": "b"}
ONE_HOT = {"winner_model_a": 0, "winner_model_b": 0, "winner_tie": 0}


@pytest.mark.parametrize(
    ("tie", "other"),
    [
        ({**A_B, "winner": "tie"}, {**A_B, "winner": "model_a"}),
        ({**A_B, "winner": "tie (bothbad)"}, {**A_B, "winner": "response_a"}),
        ({**A_B, "winner": "both_bad"}, {**A_B, "winner": "A"}),
        ({**A_B, **ONE_HOT, "winner_tie": 1}, {**A_B, **ONE_HOT, "winner_model_a": 1}),
        ({**SCORED, "overall_preference": 0}, {**SCORED, "overall_preference": -1}),
    ],
)
def test_ties_are_counted_and_stop_nothing(tmp_path, tie, other):
    pairs = load(tmp_path, tie, other, tie)
    assert [(pair.chosen, pair.rejected) for pair in pairs] == [("a", "b")]
    assert (list(pairs.skipped.values()), pairs.rows, pairs.problem) == ([2], 3, "")
    assert "none of its 1 rows is a pair" in fault(tmp_path, tie)


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ({**A_B, "winner": "c"}, "winner does not name an answer (c; known are a or b, and tie)"),
        ({**A_B, "winner": 1}, "winner does not name an answer (1; known are a or b, and tie)"),
        ({**A_B, "winner": None}, "winner is missing"),
        ({"prompt": "q", "response_0": "a", "response_1": "b", "better_response_id": 2}, "does not name an answer (2;"),
        ({"prompt": "q", "response_0": "a", "response_1": "b", "better_response_id": True}, "does not name an answer"),
        ({"history": "q", "human_ref_A": "a", "human_ref_B": "b", "labels": 2}, "labels must be 1 (A is better) or 0"),
        ({**A_B, **ONE_HOT}, "of winner_model_a, winner_model_b, winner_tie one must be 1"),
        ({**SCORED, "overall_preference": "left"}, "overall_preference must be a number, not left"),
        ({"prompt": "q", "generations": ["a", "b"], "ratings": [1]}, "ratings must have a number for each of gener"),
        ({"prompt": "q", "generations": ["a", "b"], "ratings": [1, None]}, "fewer than two answers with a score"),
        ({"prompt": "q", "completions": [{"model": "x", "score": 1}]}, "completions has an object without an answer"),
    ],
)
def test_what_is_not_clear_is_refused(tmp_path, row, words):
    assert words in fault(tmp_path, row)


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ({"prompt": "q", "response_0": "a", "response_1": "b"}, "which of response_0 and response_1 is better"),
        ({"prompt": "q", "completion": "a"}, "completion has one answer to each prompt"),
        ({"messages": [user("q"), bot("a")]}, "messages has one answer to each prompt"),
        ({"prompt": "q", "generations": ["a", "b"]}, "no column has their scores"),
    ],
)
def test_no_remedy_leads_to_a_wrong_pairing(tmp_path, row, words):
    told = fault(tmp_path, row)
    assert words in told
    for wrong in ("chosen=", "rejected="):
        assert wrong not in told


def test_the_better_answer_by_another_column(tmp_path):
    row = {"prompt": "q", "response_0": "a", "response_1": "b", "better_response_id": 0, "safer_response_id": 1}
    assert turns(load(tmp_path, row)) == [("q", "a", "b")]
    assert turns(load(tmp_path, row, columns={"winner": "safer_response_id"})) == [("q", "b", "a")]
    row = {"ask": "q", "left": "a", "right": "b", "best": "right"}
    named = {"prompt": "ask", "answer_a": "left", "answer_b": "right", "winner": "best"}
    assert turns(load(tmp_path, row, columns=named)) == [("q", "b", "a")]


def test_conversations_of_an_arena_part_at_their_first_answer(tmp_path):
    row = {"conversation_a": [user("q"), bot("a"), user("r"), bot("s")], "conversation_b": [user("q"), bot("b")],
           "winner": "model_b"}  # fmt: skip
    assert turns(load(tmp_path, row)) == [([user("q")], "b", [bot("a"), user("r"), bot("s")])]


SCORES = {"prompt": "q", "completions": [
    {"response": "a", "overall_score": 1}, {"response": "b", "overall_score": 3}, {"response": "c", "overall_score": 3},
    {"response": "d", "overall_score": None}, {"response": "e", "overall_score": 2}]}  # fmt: skip


def test_ranking(tmp_path):
    assert turns(load(tmp_path, SCORES)) == [("q", "b", "a")]
    pairs = load(tmp_path, SCORES, ranking="all")
    assert [(pair.chosen, pair.rejected) for pair in pairs] == [
        ("b", "a"), ("c", "a"), ("e", "a"), ("b", "e"), ("c", "e"),
    ]  # fmt: skip
    assert pairs.undecided == 5  # b with c, and d with each
    assert {pair.where for pair in pairs} == {"f.jsonl line 1"}
    assert len(load(tmp_path, SCORES, ranking="all", limit=2)) == 2


def test_equal_scores_make_no_pair(tmp_path):
    equal = {"prompt": "q", "completions": [{"response": x, "overall_score": 4} for x in "ab"]}
    pairs = load(tmp_path, equal, SCORES)
    assert (len(pairs), pairs.skipped) == (1, {"completions has equal scores: no answer is better": 1})


def test_scores_in_a_column_of_their_own(tmp_path):
    row = {"prompt": "q", "completions": [{"model": "x", "text": "a"}, {"model": "y", "text": "b"}], "scores": [1, 2]}
    assert turns(load(tmp_path, row)) == [("q", "b", "a")]
    row = {"prompt": "q", "generations": '["a", "b", null]', "ratings": "[1.5, 0, 9]"}  # a CSV file's lists
    assert turns(load(tmp_path, row)) == [("q", "a", "b")]


def test_several_rejected_answers_make_a_pair_each(tmp_path):
    row = {"prompt": "q", "chosen": "a", "rejected": ["b", "c"], "system": "be"}
    prompt = [{"role": "system", "content": "be"}, user("q")]
    assert turns(load(tmp_path, row)) == [(prompt, "a", "b"), (prompt, "a", "c")]
    row = {"prompt": TALK, "chosen": [bot("a")], "rejected": [[bot("b")], [bot("c")]]}
    assert turns(load(tmp_path, row)) == [(TALK, "a", "b"), (TALK, "a", "c")]
    assert "rejected is empty" in fault(tmp_path, row, {**row, "rejected": []})


def test_real_cases(shared):
    expected = [("What is 3 plus 4?", "It is 7.", "It is 8."),
                ("What is 5 plus 5?", "That makes 10.", "That makes 12."),
                ("How many legs has a cow?", "A cow has four legs.", "A cow has six."),
                ("Name a red fruit.", "A cherry is red.", "A banana.")]  # fmt: skip
    for name in ("l3_pku", "l_kto"):
        assert turns(load_pairs(str(shared / f"cases/data/misleading_remedy/{name}.jsonl"), DataSettings())) == expected
