"""What can be wrong with rounds is told before a model is loaded; a judge that is code runs only if it is named."""

import sys
from pathlib import Path
from typing import Any

import pytest

from mio_local import process
from mio_local.errors import RecipeError
from mio_local.process import judges_handed_on
from mio_local.recipe import build
from mio_local.training.rounds.begin_rounds import judge_for


def recipe(loss: str = "mio", rounds: int = 2, metric: str = "loss", **make: Any) -> Any:
    tables = {"loss": {"name": loss}, "train": {"rounds": rounds}, "eval": {"metric": metric}, "make": make}
    return build(tables, "test")


@pytest.mark.parametrize(("given", "told"), [
    ({"answers": 1}, "--answers 1: .* two answers"),
    ({"judge": "hand"}, "--judge hand: .* data make"),
    ({"judge": "gold", "loss": "copg"}, "--loss copg: needs a reward .* --judge gold"),
    ({"judge": "mismatch", "loss": "rloo"}, "--loss rloo: needs a reward .* --judge mismatch"),
    ({"judge": "gold", "loss": "kto"}, "--loss kto: needs a reward"),
    ({"judge": "mismatch", "metric": "reward/held_out"}, "eval.metric = reward.*: --judge mismatch .* no answer"),
    ({"rounds": 0, "metric": "reward/held_out"}, "eval.metric = reward/held_out: .* add --rounds and --judge"),
])  # fmt: skip
def test_rounds_that_could_make_nothing_are_refused(given: dict[str, Any], told: str) -> None:
    with pytest.raises(RecipeError, match=told):
        judge_for(recipe(**given))


@pytest.mark.parametrize("loss", ["mio", "dpo"])
def test_pairs_of_a_judge_are_enough_for_objectives_of_pairs(loss: str) -> None:
    judge_for(recipe(loss, judge="gold", metric="reward/held_out"))  # it has a checker's rewards
    assert judge_for(recipe("rloo", rounds=0, judge="gold")) is None  # no rounds, no matter


def test_a_reward_function_runs_where_the_command_line_names_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As it was typed, or by the whole path that the frozen recipe has; the trainer in the background is told it."""
    file = tmp_path / "reward.py"
    file.write_text("def reward(prompt, answer, row):\n    return 1.0\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(process, "_claimed", [True])
    frozen = recipe(judge="python:reward.py").absolute()
    assert frozen.make.judge == f"python:{file}"
    monkeypatch.setattr(sys, "argv", ["mio-local", "train", "recipe.toml"])
    with pytest.raises(RecipeError, match=r"--judge python:.*name it on the command line"):
        judge_for(frozen)
    for said in (["--judge", "python:reward.py"], ["--judge=python:reward.py"], ["--set", f"make.judge=python:{file}"]):
        monkeypatch.setattr(sys, "argv", ["mio-local", "train", *said])
        judge = judge_for(frozen)
        assert judge
        judge.close()
        assert judges_handed_on() == ["--judge", f"python:{file}"]
