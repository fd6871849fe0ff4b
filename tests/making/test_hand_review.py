"""Pairs reviewed by hand: what is written, what a reader may not learn, what is left after a stop."""

import json
import os
from pathlib import Path

import pytest

from mio_local.data.pairs import load_pairs
from mio_local.errors import DataError
from mio_local.learning import MakeSettings
from mio_local.making.answered import Answered, Asked
from mio_local.making.hand_review import Review, reviewed_file
from mio_local.making.make import Made, Making
from mio_local.making.pair_choice import Filters
from mio_local.making.pair_lines import pair_lines
from mio_local.recipe import DataSettings


def line(number, chosen="good", rejected="bad", **more):
    row = {"prompt": f"question {number}", "chosen": f"{chosen} {number}", "rejected": f"{rejected} {number}",
           "answers": ["a", "b"], "rewards": [1.0, 0.0], "judge": "exact", "seed": 7}  # fmt: skip
    return row | more


def write(file, rows):
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return file


def rows(file):
    return [json.loads(text) for text in file.read_text(encoding="utf-8").splitlines()]


@pytest.fixture
def file(tmp_path):
    return write(tmp_path / "pairs.jsonl", [line(number) for number in range(40)])


def test_the_better_one_is_chosen_and_all_else_of_the_line_is_kept(file):
    review = Review(file)
    first, second = review.asked, review.questions[1]
    review.decide(first, "first")
    review.decide(second, "second")
    assert rows(reviewed_file(file)) == [
        line(0) | {"chosen": first.first, "rejected": first.second, "judge": "hand"},
        line(1) | {"chosen": second.second, "rejected": second.first, "judge": "hand"},
    ]
    assert rows(file) == [line(number) for number in range(40)]
    pairs = load_pairs(str(reviewed_file(file)), DataSettings())
    assert [pair.chosen for pair in pairs] == [first.first, second.second]


def test_the_order_does_not_tell_which_was_chosen_and_is_the_same_each_time(file):
    before = Review(file).questions
    swapped = write(file.with_name("other.jsonl"),
                    [line(number) | {"chosen": f"bad {number}", "rejected": f"good {number}"} for number in range(40)])
    ahead = sum(one.first == one.row["chosen"] for one in before)
    assert 10 < ahead < 30  # of 40 by chance: 1 in 300 is outside
    assert [(one.first, one.second) for one in Review(swapped).questions] == [(one.first, one.second) for one in before]
    assert before == Review(file).questions


def test_a_review_that_is_left_goes_on(file):
    review = Review(file)
    for verdict in ("first", "alike", "skip", "second"):
        review.decide(review.asked, verdict)
    again = Review(file)
    assert again.counts() == {"kept": 2, "alike": 1, "skipped": 0}
    assert again.asked == review.questions[2]  # the skipped one
    again.decide(again.asked, "first")
    assert again.asked == review.questions[4]
    assert len(rows(reviewed_file(file))) == 3


def test_what_was_decided_is_taken_back_one_by_one(file):
    review = Review(file)
    verdicts = ("first", "alike", "skip", "second")
    for verdict in verdicts:
        review.decide(review.asked, verdict)
    assert [review.undo().verdict for _ in verdicts] == list(reversed(verdicts))
    assert review.undo() is None
    assert review.asked == review.questions[0]
    assert reviewed_file(file).read_bytes() == review.alike.read_bytes() == b""


def test_prompts_without_a_pair_show_any_two_answers_that_differ(tmp_path):
    drawn = {"chosen": None, "rejected": None, "rewards": [None] * 4}
    made = [line(0) | drawn | {"answers": ["one", " one ", "two", ""]},
            line(1) | drawn | {"answers": ["same", "same", "same", "same"]}]  # fmt: skip
    review = Review(write(tmp_path / "hand.jsonl", made))
    [asked] = review.questions
    assert {asked.first.strip(), asked.second.strip()} == {"one", "two"}
    assert review.bad == 1
    review.decide(asked, "second")
    assert rows(reviewed_file(review.file))[0]["chosen"] == asked.second
    assert Review(review.file).asked is None


def test_what_is_made_for_a_reader_has_the_answers_that_may_stand_in_a_pair(tmp_path):
    """Each text once, none that was cut, none that is empty; a prompt with fewer than two is left out."""
    asked = [Asked(f"question {number}", None, f"line {number}") for number in range(2)]
    drawn = [("one", "one", "cut", "", "two"), ("alone", "cut", "alone", "alone", "alone")]
    made = [
        Made(Answered(one, answers, tuple(text == "cut" for text in answers)), [[1]] * 5, (None,) * 5, [])
        for one, answers in zip(asked, drawn, strict=True)
    ]
    text = pair_lines(Making(made, Filters(), 2), MakeSettings(answers=5), "hand", {"model": "m"})
    file = tmp_path / "hand.jsonl"
    file.write_text(text, encoding="utf-8")
    [row] = rows(file)
    assert (row["chosen"], row["rejected"], row["answers"], row["rewards"]) == (None, None, ["one", "two"], [None] * 2)
    review = Review(file)
    assert {review.asked.first, review.asked.second} == {"one", "two"}
    with pytest.raises(DataError, match="no pair was made of its answers"):
        load_pairs(str(file), DataSettings())


def test_a_torn_end_is_cut_off_and_asked_again(file):
    review = Review(file)
    review.decide(review.asked, "first")
    whole = reviewed_file(file).read_bytes()
    review.decide(review.asked, "first")
    torn = reviewed_file(file).read_bytes()
    for end in (len(whole) + 1, len(torn) - 2):
        reviewed_file(file).write_bytes(torn[:end])
        assert Review(file).asked == review.questions[1]
        assert reviewed_file(file).read_bytes() == whole
    reviewed_file(file).write_bytes(torn[:-1])  # by an editor: whole but for its end
    assert Review(file).asked == review.questions[2]
    assert reviewed_file(file).read_bytes() == torn


def test_a_disk_that_is_full_leaves_no_part_of_a_line(file, monkeypatch):
    review = Review(file)
    review.decide(review.asked, "first")
    whole, write_some = reviewed_file(file).read_bytes(), os.write

    def full(descriptor, content):
        if len(content) < 20:
            raise OSError(28, "No space left on device")
        return write_some(descriptor, content[:-10])

    monkeypatch.setattr("mio_local.making.hand_review.os.write", full)
    with pytest.raises(OSError, match="No space left"):
        review.decide(review.asked, "first")
    assert reviewed_file(file).read_bytes() == whole
    assert review.asked == review.questions[1]


@pytest.mark.parametrize("content", [
    b"", b"\n\n", b"{}\n", b"[[[\n", b"[" * 100_000, b'{"prompt": 1, "chosen": [], "rejected": {}}\n', b"\xff\xfe\x00",
    b'{"prompt": "p", "chosen": "a", "rejected": "a"}\n', b'{"prompt": "p", "answers": [1, null, {}, "x"]}\n',
])  # fmt: skip
def test_a_file_of_anything_else_is_refused_in_a_line(tmp_path, content):
    file = tmp_path / "pairs.jsonl"
    file.write_bytes(content)
    with pytest.raises(DataError, match="holds no two answers"):
        Review(file)


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(DataError, match=r"none\.jsonl: cannot be read"):
        Review(Path(tmp_path / "none.jsonl"))


def test_texts_that_are_no_utf_8_are_written_all_the_same(tmp_path):
    file = tmp_path / "pairs.jsonl"
    file.write_text('{"prompt": "p", "chosen": "\\ud800", "rejected": "ü"}\n', encoding="utf-8")
    review = Review(file)
    review.decide(review.asked, "first")
    assert {json.loads(reviewed_file(file).read_text())[key] for key in ("chosen", "rejected")} == {"\ud800", "ü"}
