"""How long a run will take: figures derived by hand, and a real small run beside its estimate."""

from pathlib import Path
from typing import Any

import pytest

from mio_local.cli import run as command
from mio_local.recipe import Recipe, build
from mio_local.reports.duration import Plan, Speed, likeness, parts_of, plan_of, seconds, speed_of
from mio_local.runs.directory import Run
from mio_local.runs.history import History, read


def recipe(**tables: dict[str, Any]) -> Recipe:
    given = {"model": {"name": "m"}, "data": {"source": "d"}, "backend": {"name": "mlx", "device": "cpu"}}
    return build(given | tables, "test")


def step(number: int, took: float, reference: float, at: float, epoch: float) -> dict[str, Any]:
    """A step of 4 pairs of 100 tokens."""
    return {"type": "step", "step": number, "time": at, "epoch": epoch, "perf/seconds": took,
            "perf/reference_seconds": reference, "perf/tokens_per_second": 400 / took,
            "perf/pairs_per_second": 4 / took}  # fmt: skip


# two epochs of two steps: 5 s more in the first, and of each in the first epoch 1 s is the reference's
EVENTS: list[dict[str, Any]] = [
    {"type": "started", "step": 0, "time": 100.0},
    {"type": "eval", "step": 0, "time": 104.0, "pairs": 20}, {"type": "sample", "step": 0, "time": 106.0},
    step(1, 8.0, 1.0, 114.0, 0.5), step(2, 3.0, 1.0, 117.0, 1.0),
    {"type": "eval", "step": 2, "time": 119.0, "pairs": 20}, {"type": "sample", "step": 2, "time": 120.0},
    step(3, 2.0, 0.0, 122.0, 1.5), step(4, 2.0, 0.0, 124.0, 2.0),
    {"type": "eval", "step": 4, "time": 126.5, "pairs": 20}, {"type": "sample", "step": 4, "time": 127.0},
]  # fmt: skip


def history(*events: dict[str, Any]) -> History:
    found = History(Run(Path("x")), recipe())
    found.add(events)
    return found


def test_a_speed_is_that_of_the_steps_and_of_the_evaluations() -> None:
    speed = speed_of(history(*EVENTS))
    assert speed is not None
    assert speed.token == pytest.approx(6 / 1200)  # 7 s after the first step, 1 of them the reference's
    assert speed.reference == pytest.approx(1 / 400)
    assert speed.warm_up == pytest.approx(8 - 3)
    assert speed.between == 0.0
    assert (speed.first_evaluation, speed.evaluation, speed.scored, speed.tokens_a_pair) == (6.0, 3.0, 20, 100.0)


def test_the_same_run_again_takes_as_long() -> None:
    speed = speed_of(history(*EVENTS))
    assert speed is not None
    again = plan_of(recipe(train={"epochs": 2}, eval={"every": 2}), pairs=8, held_out=20, tokens_a_pair=100)
    assert again == Plan(steps=4, tokens=1600, epoch_tokens=800, evaluations=2, scored=20)
    assert seconds(speed, again) == pytest.approx(27.0)  # 100.0 to 127.0


def test_time_grows_with_tokens_steps_and_held_out_pairs() -> None:
    speed = Speed(
        token=0.01, reference=0.002, between=0.5, warm_up=3, first_evaluation=4, evaluation=2, scored=10,
        tokens_a_pair=50,
    )  # fmt: skip
    long = plan_of(recipe(train={"steps": 1000}, eval={"every": 100, "pairs": 0}), 1000, 40, 200)
    # 1000 steps of 4 pairs of 200 tokens and half a second between; 1000 pairs once through the reference; 40 pairs
    # scored 1 + 10 times
    assert seconds(speed, long) == pytest.approx(8000 + 400 + 500 + 3 + 4 * (4 + 10 * 2))
    never = plan_of(recipe(train={"steps": 1000}, eval={"every": 0}), 1000, 40, 200)
    assert seconds(speed, never) == pytest.approx(8903 + 4 * (4 + 2))
    assert seconds(speed, plan_of(recipe(train={"steps": 1000}), 1000, 0, 200)) == pytest.approx(8903)


def test_what_passes_between_steps_counts_where_nothing_is_evaluated_there() -> None:
    late = [event | {"time": event["time"] + 0.25 * (event["step"] >= 4)} for event in EVENTS]
    speed = speed_of(history(*late))
    assert speed is not None
    assert speed.between == pytest.approx(0.125)  # none after step 1, a quarter after step 3; step 2 was evaluated


@pytest.mark.parametrize("held", [[], EVENTS[:4], [EVENTS[0], *({"type": "step", "step": k} for k in range(9))]])
def test_a_run_that_does_not_tell_has_no_speed(held: list[dict[str, Any]]) -> None:
    assert speed_of(history(*held)) is None


def test_odd_events_do_no_harm() -> None:
    odd: list[dict[str, Any]] = [
        step(1, 1.0, 0.0, 1.0, 0.1) | {"perf/seconds": value} for value in ("x", -1, 0, None, 1e300, True, [])
    ]
    odd += [{"type": "eval", "step": 1, "time": "never"}, {"type": "eval", "step": 2, "pairs": 1e300}]
    assert speed_of(history(*odd)) is None
    assert speed_of(history(*odd, *EVENTS)) is not None


def test_a_run_tells_of_another_only_where_model_place_and_kind_are_the_same() -> None:
    other = recipe()
    same = likeness(other, other)
    assert same == likeness(recipe(backend={"name": "auto", "device": "auto"}), other)
    for tables in (
        {"model": {"name": "n"}}, {"model": {"name": "m", "quantize": 4}}, {"backend": {"name": "cuda"}},
        {"backend": {"name": "mlx", "device": "gpu"}}, {"loss": {"name": "sft"}},
    ):  # fmt: skip
        assert likeness(recipe(**tables), other) is None
    assert same is not None
    assert likeness(recipe(train={"batch_size": 8, "grad_checkpoint": True}), other) == same - 2
    assert likeness(recipe(train={"learning_rate": 1.0}), other) == same


def test_supervised_epochs_are_a_part_of_their_own() -> None:
    taught, tuned = parts_of(recipe(train={"sft_epochs": 2.0, "steps": 7}))
    assert (taught.loss.name, taught.train.epochs, taught.train.steps) == ("sft", 2.0, 0)
    assert (tuned.loss.name, tuned.train.steps) == ("mio", 7)


@pytest.mark.slow
def test_an_estimate_is_near_what_a_real_run_takes(runs_home: Path, tiny_model: Path, tiny_pairs: Path) -> None:
    pytest.importorskip("mlx.core")

    def trained(name: str, *more: str) -> History:
        own = ["--device", "cpu", "--set", "data.eval_fraction=0.25", *more]
        assert command(["train", "--model", str(tiny_model), "--data", str(tiny_pairs), "--name", name, *own]) == 0
        return read(Run(runs_home / name))

    def took(found: History) -> float:
        """Seconds from the first event to the last."""
        return found.last("finished")["time"] - found.last("started")["time"]

    speed = speed_of(trained("first", "--steps", "15", "--eval-every", "5", "--set", "train.save_every=0"))
    assert speed is not None
    long = trained("long", "--steps", "60", "--eval-every", "10", "--set", "train.save_every=0")
    facts = long.last("started")
    again = speed_of(long)
    assert again is not None
    plan = plan_of(long.recipe, facts["pairs"], facts["held_out"], again.tokens_a_pair)
    assert took(long) / 2 < seconds(speed, plan) < took(long) * 2
