"""Judges by a rule, of a schema, and those that make the pairs."""

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from mio_local.data.task_questions import RULES
from mio_local.errors import DataError
from mio_local.learning import MakeSettings
from mio_local.making.answered import Answered, Asked, Judge
from mio_local.making.judging.choose import check_known, judge_of
from mio_local.making.prompts import Prompts

# by rule: the known answer, an answer that is right, one that is wrong
EXAMPLES = {
    "last-number": ("9 + 1009 = 1018\n#### 1,018", "First 9, so it is 1018.0", "1018 less 1"),
    "exact": ("Paris", " Paris\n", "paris"),
    "boxed": ("so \\boxed{\\frac{1}{2}}", "\\boxed{3}, no: \\boxed{\\frac{1}{2}}", "\\frac{1}{2}"),
    "letter": ("B", "The answer is (B), not A", "A"),
    "regex:answer: (\\w+)": ("answer: blue", "My answer: blue.", "blue"),
}


def answered(*answers: str, known: Any = None, prompt: Any = "Q", row: dict[str, Any] | None = None) -> Answered:
    return Answered(Asked(prompt, known, "here line 1", row or {}), answers, (False,) * len(answers))


def made(judge: str, **more: Any) -> Judge:
    return judge_of(MakeSettings(judge=judge), trusted=False, **more)


def test_every_rule_has_an_example() -> None:
    assert {name.partition(":")[0] for name in EXAMPLES} == {*RULES, "regex"}


@pytest.mark.parametrize("name", EXAMPLES)
def test_a_rule_tells_right_from_wrong(name: str) -> None:
    known, right, wrong = EXAMPLES[name]
    judge = made(name)
    assert judge.judge([answered(right, wrong, "", known=known)]) == [(1.0, 0.0, 0.0)]
    assert judge.judge([answered(right, known=[{"role": "assistant", "content": known}])]) == [(1.0,)]
    assert (judge.threshold, judge.kind, judge.unjudged) == (1.0, "answers", {})


@pytest.mark.parametrize(("name", "known"), [("boxed", "42"), ("regex:answer: (\\w+)", "42")])
def test_a_known_answer_may_be_there_without_the_form_that_answers_need(name: str, known: str) -> None:
    assert made(name).judge([answered("\\boxed{42} answer: 42", "42", known=known)]) == [(1.0, 0.0)]


def test_what_cannot_be_checked_is_counted_and_never_right() -> None:
    judge = made("last-number")
    none, no_number = answered("1", "2"), answered("none here", "7", known="no number either")
    assert judge.judge([none, no_number, answered("7", known="7")]) == [(None, None), (None, None), (1.0,)]
    assert judge.unjudged == {
        "no known answer": 2, "nothing in the known answer that last-number takes (the first: here line 1)": 2,
    }  # fmt: skip


@pytest.mark.parametrize(("judge", "words"), [
    ("last_number", "nearest: last-number"), ("regex:(", "no regular expression"), ("regex:a", "has 0 groups"),
    ("gold:bxed", "nearest: boxed"), ("gold:", "no such judge"), ("json:nowhere.json", "no such file"),
    ("", "no such judge"), ("mismatch:2", "no such judge"),
])  # fmt: skip
def test_a_judge_that_is_none_is_told_in_one_line(judge: str, words: str) -> None:
    with pytest.raises(DataError, match=words) as told:
        made(judge)
    assert str(told.value).startswith("--judge ")
    assert "\n" not in str(told.value)


def test_gold_rejects_what_is_wrong_and_never_the_known_answer() -> None:
    one = answered("8", "it is 7", "#### 7", "9", known="#### 7")
    without = answered("8")
    others = ["8", "it is 7", "9"]
    for name, wrong in {"gold": ["8", "9"], "gold:exact": others, "gold:any": others}.items():
        judge = made(name)
        pairs = judge.pairs([one, without], judge.judge([one, without]))
        assert pairs == [[("#### 7", text) for text in wrong], []]
        assert judge.kind == "pairs"
    assert made("gold").judge([one]) == [(0.0, 1.0, 1.0, 0.0)]
    assert made("gold:any").threshold is None


@pytest.mark.parametrize("count", [2, 3, 17])
def test_mismatch_takes_the_answers_of_another_prompt(count: int) -> None:
    drawn = [answered(f"{n}a", f"{n}b", prompt=f"Q{n}") for n in range(count)]
    judge = made("mismatch", seed=3)
    rewards = judge.judge(drawn)
    pairs = judge.pairs(drawn, rewards)
    assert rewards == [(None, None)] * count
    others = [int(each[0][1][:-1]) for each in pairs]
    assert sorted(others) == list(range(count))  # every prompt's answers are rejected once
    for number, (own, other) in enumerate(zip(pairs, others, strict=True)):
        assert other != number
        assert own == [(f"{number}a", f"{other}a"), (f"{number}b", f"{other}b")]
    assert pairs == made("mismatch", seed=3).pairs(drawn, rewards)
    if count == 17:
        assert pairs != made("mismatch", seed=4).pairs(drawn, rewards)


def test_mismatch_leaves_out_the_same_prompt_and_answers_without_an_end() -> None:
    same = [answered("a", prompt="Q"), answered("b", prompt="Q")]
    judge = made("mismatch")
    assert judge.pairs(same, judge.judge(same)) == [[], []]
    cut = Answered(Asked("other", None, ""), ("cut", "", "whole"), (True, False, False))
    drawn = [*same, cut]
    assert judge.pairs(drawn, judge.judge(drawn))[:2] == [[("a", "whole")], [("b", "whole")]]


def test_by_hand_nothing_is_judged_and_nothing_is_missed() -> None:
    judge = made("hand")
    assert judge.judge([answered("a", "b")]) == [(None, None)]
    assert judge.unjudged == {}


class Part(BaseModel):
    model_config = ConfigDict(extra="forbid")
    name: Annotated[str, Field(min_length=2, max_length=5, pattern="^[a-z]+$")]
    weight: Annotated[float, Field(ge=0, lt=10)] | None = None


class Whole(BaseModel):
    kind: Literal["a", "b", 3]
    parts: Annotated[list[Part], Field(min_length=1, max_length=2)]
    beside: dict[str, int] = {}
    inner: "Whole | None" = None


PARTS: Sequence[Any] = [
    {"name": "ab"}, {"name": "a"}, {"name": "abcdef"}, {"name": "AB"}, {"name": 3}, {}, {"name": "ab", "other": 1},
    {"name": "ab", "weight": 0}, {"name": "ab", "weight": 10}, {"name": "ab", "weight": None},
    {"name": "ab", "weight": "1"}, {"name": "ab", "weight": True}, [], "ab", None,
]  # fmt: skip
WHOLES: Sequence[Any] = [
    *({"kind": "a", "parts": [part]} for part in PARTS),
    *({"kind": kind, "parts": [{"name": "ab"}]} for kind in ("b", 3, 4, "3", None, True)),
    *({"kind": "a", "parts": [{"name": "ab"}] * count} for count in (0, 2, 3)),
    *({"kind": "a", "parts": [{"name": "ab"}], "beside": each} for each in ({"x": 1}, {"x": 1.5}, {"x": True}, [])),
    *({"kind": "a", "parts": [{"name": "ab"}], "inner": {"kind": kind, "parts": [{"name": "ab"}]}} for kind in "ac"),
    {"kind": "a"}, {}, [], 3, "text", None, {"kind": "a", "parts": [{"name": "ab"}], "other": [1]},
]  # fmt: skip


def test_the_schema_says_as_pydantic_which_wrote_it(tmp_path: Path) -> None:
    file = tmp_path / "schema.json"
    file.write_text(json.dumps(Whole.model_json_schema()), encoding="utf-8")
    texts = [json.dumps(value) for value in WHOLES]
    expected: list[float] = []
    for text in texts:
        try:
            Whole.model_validate_json(text, strict=True)
            expected.append(1.0)
        except ValidationError:
            expected.append(0.0)
    assert {0.0, 1.0} == set(expected)
    assert made(f"json:{file}").judge([answered(*texts)]) == [tuple(expected)]


# (schema, value, valid): the standard's own words, json-schema.org/draft/2020-12/json-schema-validation
STANDARD: Sequence[tuple[Any, Any, bool]] = [
    ({"type": "integer"}, 1.0, True), ({"type": "integer"}, 1.5, False), ({"type": "number"}, True, False),
    ({"enum": [1]}, True, False), ({"enum": [1]}, 1.0, True), ({"const": {"a": [1]}}, {"a": [1.0]}, True),
    ({"uniqueItems": True}, [1, True], True), ({"uniqueItems": True}, [{"a": 1, "b": 2}, {"b": 2, "a": 1}], False),
    ({"multipleOf": 0.01}, 19.99, True), ({"multipleOf": 0.01}, 19.991, False), ({"minLength": 2}, 5, True),
    ({"oneOf": [{"type": "integer"}, {"minimum": 2}]}, 3, False),
    ({"oneOf": [{"type": "integer"}, {"minimum": 2}]}, 1, True),
    ({"not": {"type": "null"}}, None, False), (False, 1, False), (True, None, True), ({"pattern": "b"}, "abc", True),
    ({"prefixItems": [{"type": "string"}], "items": {"type": "null"}}, ["a", None], True),
    ({"prefixItems": [{"type": "string"}], "items": {"type": "null"}}, ["a", 1], False),
    ({"patternProperties": {"^x": {"type": "null"}}, "additionalProperties": False}, {"xa": None}, True),
    ({"patternProperties": {"^x": {"type": "null"}}, "additionalProperties": False}, {"y": None}, False),
    ({"propertyNames": {"maxLength": 1}}, {"ab": 1}, False), ({"maxProperties": 1}, {"a": 1, "b": 1}, False),
    ({"properties": {"a~b/c": {"$ref": "#/properties/d"}, "d": {"type": "null"}}}, {"a~b/c": 1}, False),
]  # fmt: skip


@pytest.mark.parametrize(("schema", "value", "is_valid"), STANDARD)
def test_the_words_of_the_standard(schema: Any, value: Any, is_valid: bool, tmp_path: Path) -> None:
    file = tmp_path / "schema.json"
    file.write_text(json.dumps(schema), encoding="utf-8")
    assert made(f"json:{file}").judge([answered(json.dumps(value))]) == [(float(is_valid),)]


def test_json_is_taken_from_the_last_fence_or_the_whole(tmp_path: Path) -> None:
    file = tmp_path / "schema.json"
    file.write_text('{"type": "object"}', encoding="utf-8")
    answers = ["{}", "Here:\n```json\n{}\n```\nso", "```\n3\n```\n```json\n{}\n```", "so {}", "{", "", "[" * 100_000,
               '{"a": NaN}', "{'a': 1}", '{"a": 1e999}']  # fmt: skip
    assert made(f"json:{file}").judge([answered(*answers)]) == [(1.0, 1.0, 1.0, *[0.0] * 7)]


@pytest.mark.parametrize(("schema", "words"), [
    ({"contains": {}}, "has contains, which is not checked here"), ({"typ": "string"}, "nearest: type"),
    ({"type": "text"}, "/type has 'text'"), (3, "must be an object"),
    ({"properties": []}, "/properties must be an object"),
    ({"pattern": "("}, "no regular expression"), ({"$ref": "#/$defs/a"}, "must name a place"),
    ({"$ref": "http://x"}, "must name a place"), ({"$ref": "#"}, "leads back to itself"),
    ({"$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"$ref": "#/$defs/a"}}}, "leads back to itself"),
    ({"minimum": "1"}, "must be a number"), ({"multipleOf": 0}, "above 0"), ({"anyOf": {}}, "must be a list"),
])  # fmt: skip
def test_a_schema_that_would_not_be_checked_is_refused(schema: Any, words: str, tmp_path: Path) -> None:
    file = tmp_path / "schema.json"
    file.write_text(json.dumps(schema), encoding="utf-8")
    with pytest.raises(DataError) as told:
        made(f"json:{file}")
    assert words in str(told.value)
    assert str(file) in str(told.value)


@pytest.mark.parametrize("judge", ["last-number", "exact", "regex:(.)", "gold", "gold:any"])
def test_known_answers_that_no_prompt_has_are_missed_before_anything_is_drawn(judge):
    found = Prompts([Asked("a", None, "x line 1"), Asked("b", None, "x line 2")])
    settings = MakeSettings(prompts="x.txt", judge=judge)
    with pytest.raises(DataError, match=rf"^--judge {re.escape(judge)}: .* none of the 2 prompts of x\.txt has one; "):
        check_known(found, settings)
    check_known(found, MakeSettings(prompts="x.txt", judge="mismatch"))
    check_known(Prompts([*found.asked, Asked("c", "1", "x line 3")]), settings)
