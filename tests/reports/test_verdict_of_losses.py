"""The verdict where a loss begins below 0, and where held-out answers have labels."""

from tests.reports.test_verdict import judged, scored, whole


def test_a_loss_that_begins_below_0_may_fall_and_may_rise_a_little():
    """DIL's LSIF begins at -1/2: it has gone wrong above 0, not above twice its start."""
    kinds = {loss: judged(*whole(scored(100, 1.6, -4.2), loss=loss), loss="dil-lsif").kind for loss in (-2, -0.4, 0.5)}
    assert kinds == {-2: "healthy", -0.4: "healthy", 0.5: "diverged"}


def test_held_out_answers_with_labels_may_all_be_bad_ones():
    """There is no chosen answer then, which is no sign of a run gone wrong."""
    events = whole(scored(100, 0, -4.2, loss=0.4) | {"delta/chosen": None, "delta/chosen_stderr": None}, loss=0.4)
    assert judged(*events, loss="kto").kind != "diverged"
    assert judged(*events, loss="mio").kind == "diverged"
