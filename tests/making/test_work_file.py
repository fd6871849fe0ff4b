"""The work file: what is torn or damaged is made again, and another making's answers are refused by name."""

import pytest

from mio_local.errors import RunError
from mio_local.making.answered import Judged
from mio_local.making.work_file import Work

IDS = [[[1, 2], [3]], [[4], [5, 6]]]
JUDGED = Judged([(1.0, None), (0.0, 0.5)], {"it was too long": 1}, {"a tie": 2})
DEPENDS = {"model": "m", "temperature": [1.0]}


def written(file):
    with Work(file, DEPENDS) as work:
        work.add_answers(0, "prompts", IDS)
        work.add_judged("judge", 0, IDS, JUDGED)
        work.add_logps(0, IDS, [[-1.0, -2.0], [-3.0, -4.0]])
        work.add_wrote("digest")
        return work.created


def test_it_is_read_as_it_was_written(tmp_path):
    created = written(tmp_path / "work")
    with Work(tmp_path / "work", DEPENDS) as work:
        assert work.answers(0, "prompts") == IDS
        assert work.judged("judge", 0, IDS) == JUDGED
        assert work.logps(0, IDS) == [[-1.0, -2.0], [-3.0, -4.0]]
        assert (work.wrote, work.created, work.damaged) == ("digest", created, 0)


def test_other_prompts_answers_and_judges_have_nothing_there(tmp_path):
    written(tmp_path / "work")
    with Work(tmp_path / "work", DEPENDS) as work:
        assert work.answers(0, "others") is None
        assert work.answers(1, "prompts") is None
        assert work.judged("another", 0, IDS) is None
        assert work.judged("judge", 0, IDS[::-1]) is None
        assert work.logps(0, IDS[::-1]) is None


def test_a_line_that_is_torn_anywhere_is_gone_and_the_next_one_stands(tmp_path):
    written(tmp_path / "whole")
    content = (tmp_path / "whole").read_bytes()
    ends = [place + 1 for place, letter in enumerate(content) if letter == 10]
    for cut in [*range(ends[0]), *range(ends[1] - 30, ends[2])]:  # in the first, the answers', and the rewards' line
        file = tmp_path / f"cut-{cut}"
        file.write_bytes(content[:cut])
        with Work(file, DEPENDS) as work:
            assert (work.answers(0, "prompts") is None) == (cut < ends[1]), cut
            assert (work.judged("judge", 0, IDS), work.damaged) == (None, 0)
            work.add_answers(0, "prompts", IDS)
        with Work(file, DEPENDS) as work:
            assert (work.answers(0, "prompts"), work.damaged) == (IDS, 0)


def test_a_flipped_bit_costs_its_line_alone(tmp_path):
    written(tmp_path / "work")
    content = bytearray((tmp_path / "work").read_bytes())
    content[content.index(b'"answers"') + 12] ^= 1
    (tmp_path / "work").write_bytes(content)
    with Work(tmp_path / "work", DEPENDS) as work:
        assert (work.answers(0, "prompts"), work.damaged) == (None, 1)
        assert work.judged("judge", 0, IDS) is not None


@pytest.mark.parametrize(
    ("now", "told"),
    [({"model": "m", "temperature": [0.7, 1.0]}, "temperature 1.0, not 0.7,1.0"),
     ({"model": "n", "temperature": [1.0]}, "model m, not n")],
)  # fmt: skip
def test_other_settings_are_refused_by_name_unless_all_is_made_anew(now, told, tmp_path):
    written(tmp_path / "work")
    before = (tmp_path / "work").read_bytes()
    with pytest.raises(RunError, match=told) as raised:
        Work(tmp_path / "work", now)
    assert "--force" in str(raised.value)
    assert (tmp_path / "work").read_bytes() == before
    with Work(tmp_path / "work", now, anew=True) as work:
        assert work.answers(0, "prompts") is None
    Work(tmp_path / "work", now).close()


def test_what_is_no_work_file_is_left_alone(tmp_path):
    (tmp_path / "work").write_text("something of the user's\n")
    with pytest.raises(RunError, match="first line"):
        Work(tmp_path / "work", DEPENDS)
    assert (tmp_path / "work").read_text() == "something of the user's\n"


def test_two_processes_do_not_write_to_one(tmp_path):
    with Work(tmp_path / "work", DEPENDS), pytest.raises(RunError, match="another process"):
        Work(tmp_path / "work", DEPENDS)
