"""A judge on a server: what it makes of verdicts, and what it asks."""

import itertools
from pathlib import Path
from typing import Any

import pytest

from mio_local.errors import DataError, RecipeError
from mio_local.learning import MakeSettings
from mio_local.making.judging.choose import cost_of
from mio_local.making.judging.verdicts import verdict_of
from tests.helpers.making.judge_server import JudgeServer, answers_to, made, message, said


@pytest.mark.parametrize("count", [2, 3, 5, 8])
def test_a_reward_is_the_share_of_comparisons_won_and_the_cost_is_as_told(count: int, server: JudgeServer) -> None:
    judge = made(server.url)
    answers = [str(number * 7 % 11) for number in range(1, count + 1)]
    rewards = judge.judge([answers_to(*answers), answers_to(*answers)])
    judge.close()
    apart = [[min((one - other) % count, (other - one) % count) for other in range(count)] for one in range(count)]
    met = [[other for other in range(count) if 1 <= apart[one][other] <= 2] for one in range(count)]
    expected = tuple(
        sum(int(answers[one]) > int(answers[other]) for other in met[one]) / len(met[one]) for one in range(count)
    )
    assert rewards == [expected, expected]
    assert len(server.calls) == sum(map(len, met)) * 2
    assert f"{len(server.calls):,} calls" in cost_of(MakeSettings(judge="server:x", answers=count), 2)
    assert judge.unjudged == {}
    orders = [tuple(each[3]["messages"][0]["content"].split("answer-")[1::2]) for each in server.calls]
    assert len(set(orders)) == len(orders) / 2  # each in both orders, for either prompt


@pytest.mark.parametrize(("verdicts", "reason"), [
    (["A"], "the judge said otherwise in the other order"), (["B"], "the judge said otherwise in the other order"),
    (["tie"], "a tie"), (["Neither is."], "the judge gave no verdict"), ([None], "the judge gave no verdict"),
    ([["A"]], "the judge gave no verdict"), (["A", "tie"], "a tie"), (["B", "?"], "the judge gave no verdict"),
])  # fmt: skip
def test_what_decides_nothing_is_dropped_and_counted(
    verdicts: list[Any], reason: str, server: JudgeServer
) -> None:
    saying = itertools.cycle(verdicts)
    server.decide = lambda *_: next(saying)
    judge = made(server.url)
    assert judge.judge([answers_to("1", "2")]) == [(None, None)]
    judge.close()
    assert judge.dropped == {reason: 1}
    assert judge.unjudged == {f"no comparison of it was decided: {reason}": 2}


def test_the_same_answer_twice_is_not_asked_about_and_one_alone_has_no_reward(server: JudgeServer) -> None:
    judge = made(server.url)
    assert judge.judge([answers_to("1", " 1"), answers_to("5")]) == [(None, None), (None,)]
    judge.close()
    assert server.calls == []
    assert sum(judge.unjudged.values()) == 3


@pytest.mark.parametrize(("text", "verdict"), [
    ("A", "A"), ("B", "B"), ("tie", "tie"), ("Tie", "tie"), ("The first.\n\n**A**\n", "A"), ("[[B]]", "B"),
    ("Verdict: B", "B"), ("Final answer: tie.", "tie"), ('{"verdict": "A"}', "A"), ('Well.\n{"winner": "tie"}', "tie"),
    ('```json\n{"verdict":\n "B"}\n```', "B"), ("<think>\nA\n</think>\nB", "B"), ("`A`", "A"),
    ("", None), ("a", None), ("A is better", None), ("B or A", None), ("A\nbecause it is right", None), ("C", None),
    ("AB", None), ('{"verdict": "C"}', None), ('{"other": "A"}', None), ("A\nB", "B"), ("[" * 100_000, None),
    ("<think>A</think>", None), ("verdict: b", None), ('{"verdict": ["A"]}', None),
])  # fmt: skip
def test_a_verdict_is_read_strictly(text: str, verdict: str | None) -> None:
    assert verdict_of(text) == verdict


def test_the_words_are_a_file_that_one_can_edit(server: JudgeServer, tmp_path: Path) -> None:
    file = tmp_path / "words.txt"
    file.write_text("{first}|{prompt}|{second}|{other}", encoding="utf-8")
    server.reply = lambda *_: message("A")
    judge = made(server.url, judge_prompt=str(file))
    two = [{"role": "system", "content": "S"}, {"role": "user", "content": "Q"}]
    judge.judge([answers_to("{second}", "{prompt}", prompt="{first}"), answers_to("x", "y", prompt=two)])
    judge.close()
    texts = sorted(each[3]["messages"][0]["content"] for each in server.calls)
    assert texts == sorted([
        "{second}|{first}|{prompt}|{other}", "{prompt}|{first}|{second}|{other}",
        "x|system: S\nuser: Q|y|{other}", "y|system: S\nuser: Q|x|{other}",
    ])  # fmt: skip
    file.write_text("{first} {second}", encoding="utf-8")
    for wrong, words in ((file, "has no {prompt}"), (tmp_path / "none", "cannot be read")):
        with pytest.raises(RecipeError) as told:
            made(server.url, judge_prompt=str(wrong))
        assert words in str(told.value)
        assert str(wrong) in str(told.value)


def test_the_first_model_is_taken_or_the_one_that_is_named(server: JudgeServer) -> None:
    for named, used in (("", "small"), ("large", "large")):
        judge = made(server.url, judge_model=named)
        judge.judge([answers_to("1", "2")])
        judge.close()
        assert judge.name == f"server:{server.url} ({used})"
        assert {each[3]["model"] for each in server.calls[-2:]} == {used}
    with pytest.raises(DataError, match="there are small, large"):
        made(server.url, judge_model="other")
    for none, words in ((said({"data": []}), "names no model"), (said([]), "does not say which models")):
        server.models = none
        with pytest.raises(DataError, match=words):
            made(server.url)
    server.models = said({}, 404)
    made(server.url, judge_model="other").close()
    with pytest.raises(DataError, match="404 Not Found"):
        made(server.url)
