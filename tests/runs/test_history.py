"""What a run's events become: series and columns, by steps, tokens and time."""

import math

import numpy as np
import pytest

from mio_local.errors import RecipeError
from mio_local.runs import history
from mio_local.runs.history import History
from tests.helpers import fakes

AXES = ("step", "tokens", "time")


@pytest.fixture
def past(tmp_path):
    """A run of 120 steps, evaluated every 50: 6,000 tokens and half a second each step."""
    return history.read(fakes.make_run(tmp_path, "a", steps=120))


def empty(tmp_path, *events: dict) -> History:
    made = history.read(fakes.make_run(tmp_path, "empty", stream=[]))
    made.add(events)
    return made


def step(number: int, **values: object) -> dict:
    return {"type": "step", "step": number, **values}


@pytest.mark.parametrize(("by", "each"), [("step", 1), ("tokens", 6000), ("time", 0.5)])
def test_x_of_steps_and_evaluations(past, by, each):
    x, y = past.column("step", "delta/chosen", by)
    np.testing.assert_allclose(x, each * np.arange(1, 121))
    np.testing.assert_allclose(y, [fakes.figures(n, "mio")["delta/chosen"] for n in range(1, 121)])
    x, y = past.column("eval", "loss", by)
    np.testing.assert_allclose(x, each * np.array([0, 50, 100]))
    np.testing.assert_allclose(y, [fakes.figures(n, "mio")["loss"] for n in (0, 50, 100)])


def test_values_that_are_no_number_are_gaps_in_columns_and_absent_from_series(tmp_path):
    values = [1, None, "2", True, math.nan, math.inf, [3], {}, 2.5]
    past = empty(tmp_path, *(step(n, loss=value) for n, value in enumerate(values)), step(9))
    x, y = past.column("step", "loss")
    np.testing.assert_array_equal(x, np.arange(10.0))
    np.testing.assert_array_equal(y, [1, *[np.nan] * 7, 2.5, np.nan])
    assert x.dtype == y.dtype == np.float64
    assert past.series("step", "loss") == ([0, 8], [1, 2.5])


def test_a_column_that_grew_is_the_one_read_at_once(tmp_path, past):
    grown = empty(tmp_path)
    events = past.of("step")
    for start in range(0, len(events), 7):
        grown.add(events[start : start + 7])
        for by in AXES:
            for mine, other in zip(grown.column("step", "loss", by), past.column("step", "loss", by), strict=True):
                np.testing.assert_allclose(mine, other[: len(mine)])
    assert len(grown.column("step", "loss")[0]) == 120


def test_a_column_reads_each_event_once(tmp_path):
    class Counted(dict):
        asked = 0

        def get(self, *arguments):
            Counted.asked += 1
            return super().get(*arguments)

    past = empty(tmp_path, *(Counted(step(n, loss=1.0)) for n in range(50)))
    for _ in range(5):
        past.column("step", "loss")
    past.add([Counted(step(50, loss=1.0))])
    assert past.column("step", "loss")[0].size == 51
    assert Counted.asked == 2 * 51  # the steps, and the loss


def test_columns_already_handed_out_do_not_change(past):
    x, y = past.column("step", "loss")
    kept = y.copy()
    past.add([step(121, loss=9.0)])
    assert past.column("step", "loss")[1][-1] == 9.0
    np.testing.assert_array_equal(y, kept)
    assert x.size == 120


def test_a_file_that_began_again_replaces_everything(past):
    past.column("eval", "loss", "tokens")
    past.add([step(1, loss=3.0, num_tokens=10)], again=True)
    assert past.column("step", "loss", "tokens")[0].tolist() == [10]
    assert past.column("eval", "loss", "tokens")[0].tolist() == []
    assert past.of("started") == []


def test_every_change_counts(past):
    before = past.version
    past.add([])
    assert past.version == before
    past.add([step(121)])
    assert past.version == before + 1
    past.add([], again=True)
    assert past.version > before + 1


def test_tokens_and_time_never_run_backwards_over_damage(tmp_path):
    tokens, seconds = [100, None, 300, "x", 250, 500], [1, None, 2, math.nan, "x", 4]
    pairs = zip(tokens, seconds, strict=True)
    past = empty(
        tmp_path,
        *(step(n, loss=1.0, **{"num_tokens": a, "perf/seconds": b}) for n, (a, b) in enumerate(pairs, 1)),
        {"type": "eval", "step": 6, "loss": 1.0},
    )
    assert past.column("step", "loss", "tokens")[0].tolist() == [100, 100, 300, 300, 300, 500]
    assert past.column("step", "loss", "time")[0].tolist() == [1, 1, 3, 3, 3, 7]
    assert past.column("eval", "loss", "time")[0].tolist() == [7]


def test_an_evaluation_after_the_last_step_seen_stands_at_that_step(tmp_path):
    past = empty(tmp_path, step(4, num_tokens=400), {"type": "eval", "step": 2, "loss": 1.0})
    past.add([{"type": "eval", "step": 9, "loss": 1.0}])
    assert past.column("eval", "loss", "tokens")[0].tolist() == [200, 400]


@pytest.mark.parametrize("by", AXES)
def test_without_events_columns_are_empty(tmp_path, by):
    x, y = empty(tmp_path).column("eval", "loss", by)
    assert x.size == y.size == 0


def test_of_and_last(past):
    assert [event["step"] for event in past.of("checkpoint")] == [100]
    assert past.last("eval")["step"] == 100
    assert past.last("weather") == {}
    assert past.of("weather") == []


def test_a_damaged_recipe_is_one_line(tmp_path):
    run = fakes.make_run(tmp_path, "a", steps=1)
    run.recipe.write_text("model = [red", encoding="utf-8")
    with pytest.raises(RecipeError, match=r"recipe\.toml: not TOML") as caught:
        history.read(run)
    assert "\n" not in str(caught.value)


def test_the_accuracy_of_a_model_that_has_not_moved_is_a_gap(tmp_path):
    """Before the first update all pairs are ties, but for rounding: 0, and no share of anything."""
    still = {"delta/chosen": 3e-6, "delta/rejected": 0.0, "rewards/accuracies": 0.0}
    moved = {"delta/chosen": 0.2, "delta/rejected": -0.1, "rewards/accuracies": 0.75}
    made = empty(tmp_path, step(1, **still), step(2, **moved))
    for by in AXES:
        np.testing.assert_equal(made.column("step", "rewards/accuracies", by)[1], [np.nan, 0.75])
    assert made.series("step", "rewards/accuracies") == ([2], [0.75])
