"""The verdict where so few pairs are held out that nobody could tell by them."""

import pytest

from tests.reports.test_verdict import TASK, judged, scored, whole


@pytest.mark.parametrize("figures", [(0.1, 0.1, 0.5), (1, -4, 1.0), (-2, -2, 0.0)])
def test_of_a_handful_of_held_out_pairs_nothing_is_told(figures):
    """Neither that both rise, nor that it is healthy, nor that it forgets; but what tasks tell is."""
    few = whole(scored(100, *figures, pairs=7))
    found = judged(*few)
    assert found.line.startswith("cannot tell: chosen ")
    assert "but only 7 pairs are held out; give more by --eval-data or --set data.eval_fraction=0.2" in found.line
    assert judged(*few, TASK | {"step": 0, "accuracy": 0.6}, TASK | {"step": 100, "accuracy": 0.2}).kind == "forgetting"


def test_eight_pairs_of_which_all_are_right_tell_something():
    assert judged(*whole(scored(100, 1, -4, 1.0, pairs=8))).kind == "healthy"
