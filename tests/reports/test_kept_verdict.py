"""The verdict that a status keeps, which may hold anything."""

import pytest

from mio_local.runs.summary import row_of
from tests.helpers import fakes


@pytest.mark.parametrize("held", [
    None, [], "healthy", {}, {"kind": "healthy"}, {"kind": [], "words": "", "advice": ""},
    {"kind": "splendid", "words": "w", "advice": ""}, {"kind": "healthy", "words": 3, "advice": ""},
    {"kind": "healthy", "words": "w", "advice": None},
])  # fmt: skip
def test_a_status_whose_verdict_makes_no_sense_has_none(folder, held):
    row = row_of(fakes.make_run(folder, "one", verdict=held))
    assert (row.state, row.verdict, row.verdict_level) == ("done", "", "unknown")


def test_a_verdict_of_a_stranger_is_bounded_and_harmless(folder):
    held = {"kind": "healthy", "words": "\x1b[31m\n" + "w" * 10**6, "advice": "a" * 10**6}
    row = row_of(fakes.make_run(folder, "one", verdict=held))
    assert row.verdict.isprintable()
    assert len(row.verdict) < 500
    assert row_of(fakes.make_run(folder, "before")).verdict == ""
