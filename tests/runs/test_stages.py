"""Supervised first, then MIO from it: two commands, or one recipe; the second run's reference is the first's model."""

import math
import shutil

import pytest

from mio_local.adapters.adapter import read_adapter
from mio_local.cli import run
from mio_local.errors import RunError
from mio_local.recipe import build, read_toml
from mio_local.runs.directory import Run
from mio_local.runs.stages import stages
from mio_local.training.reopen import reopen
from tests.helpers.backends import both, mlx_and_slow_cuda
from tests.helpers.fakes import read_events


def first(of, kind):
    return next(event for event in read_events(of.events) if event["type"] == kind)


def last(of, kind):
    return [event for event in read_events(of.events) if event["type"] == kind][-1]


def check(taught, tuned):
    """Step 0 of the second: policy = reference = the supervised model, so MIO's loss is ln 4."""
    assert build(read_toml(tuned.recipe), "test").lora.init_adapter == str(taught.adapter)
    assert build(read_toml(taught.recipe), "test").loss.name == "sft"
    start = first(tuned, "eval")
    assert start["loss"] == pytest.approx(math.log(4), abs=1e-6)
    assert first(tuned, "step")["loss"] == pytest.approx(math.log(4), abs=1e-5)
    for answer in ("chosen", "rejected"):
        assert start[f"logps/{answer}"] == pytest.approx(last(taught, "eval")[f"logps/{answer}"], abs=1e-3)
        assert start[f"delta/{answer}"] == 0
    assert last(taught, "eval")["logps/chosen"] > first(taught, "eval")["logps/chosen"] + 0.5
    assert read_adapter(tuned.path).names == read_adapter(taught.path).names


SMALL = ("--set", "data.eval_fraction=0.25", "--set", "eval.sample_tokens=8")


def words(model, pairs, backend, runs, *more):
    given = ["train", "--model", model, "--data", pairs, "--backend", backend, "--device", "cpu", "--runs", runs, *more]
    return [str(word) for word in [*given, "--rank", "4", *SMALL]]


@pytest.mark.slow
@both
def test_two_commands(backend, tiny_model, tiny_pairs, tmp_path, mistake):
    supervised = ["--loss", "sft", "--name", "taught", "--epochs", "3", "--learning-rate", "3e-2"]
    assert run(words(tiny_model, tiny_pairs, backend, tmp_path, *supervised)) == 0
    then = ["--init-adapter", tmp_path / "taught", "--name", "tuned", "--steps", "2"]
    assert run(words(tiny_model, tiny_pairs, backend, tmp_path, *then)) == 0
    assert last(Run(tmp_path / "tuned"), "finished")["state"] == "done"
    start = first(Run(tmp_path / "tuned"), "eval")
    assert start["loss"] == pytest.approx(math.log(4), abs=1e-6)
    taught = last(Run(tmp_path / "taught"), "eval")
    assert start["logps/chosen"] == pytest.approx(taught["logps/chosen"], abs=1e-3)
    # and evaluated later, its reference still is the supervised model
    assert run(["eval", str(tmp_path / "tuned"), "--samples", "0"]) == 0
    end, found = last(Run(tmp_path / "tuned"), "eval"), {}
    for event in read_events(Run(tmp_path / "tuned").events):
        if event["type"] == "benchmark":
            found[event["metric"]] = event["value"]
    assert found["loss"] == pytest.approx(end["loss"], abs=1e-5)
    assert found["delta/chosen"] == pytest.approx(end["delta/chosen"], abs=1e-4)
    # not where that was replaced meanwhile; a run that does not know what it began with goes on
    tuned, weights = Run(tmp_path / "tuned"), tmp_path / "taught" / "adapter"
    shutil.rmtree(weights)
    shutil.copytree(tuned.adapter, weights)
    assert "is not the one it began with, its reference" in mistake("eval", tuned.path, "--samples", 0)
    stopped = Run(shutil.copytree(tuned.path, tmp_path / "stopped"))
    shutil.rmtree(stopped.checkpoints)
    stopped.checkpoints.mkdir()
    stopped.status.write_text('{"state": "stopped", "step": 0}', encoding="utf-8")
    with pytest.raises(RunError, match=r"run stopped: the adapter in .* is not the one it began with"):
        reopen(stopped)
    info = {key: value for key, value in tuned.read_info().items() if key != "init_adapter"}
    tuned.write_info(info)
    assert run(["eval", str(tuned.path), "--samples", "0", "--limit", "2"]) == 0



@mlx_and_slow_cuda
def test_one_recipe(backend, tiny_model, tiny_pairs, tmp_path, capsys):
    both_at_once = ["sft-then-mio", "--name", "t", "--sft-epochs", "3", "--sft-learning-rate", "3e-2", "--steps", "2"]
    given = words(tiny_model, tiny_pairs, backend, tmp_path)
    assert run([given[0], *both_at_once, *given[1:]]) == 0
    check(Run(tmp_path / "t-sft"), Run(tmp_path / "t"))
    printed = capsys.readouterr().out
    assert printed.index("run t-sft: sft") < printed.index("run t: mio")


def recipe(**train):
    return build({"model": {"name": "m/n"}, "train": train}, "test")


def test_one_run_where_nothing_is_asked_first(tmp_path):
    assert stages([recipe()], tmp_path, [""]) == [(recipe(), "")]
    alone = build({"loss": {"name": "sft"}, "train": {"sft_epochs": 1}}, "test")
    assert stages([alone], tmp_path, ["x"]) == [(alone, "x")]


def test_several_recipes_share_the_supervised_run(tmp_path):
    dpo = build({"model": {"name": "m/n"}, "loss": {"name": "dpo"}, "train": {"sft_epochs": 2, "steps": 9}}, "test")
    found = stages([recipe(sft_epochs=2, steps=7), dpo], tmp_path, ["a-mio", "a-dpo"])
    assert [name for _, name in found] == ["a-mio-sft", "a-mio", "a-dpo"]
    assert [one.loss.name for one, _ in found] == ["sft", "mio", "dpo"]
    assert (found[0][0].train.epochs, found[0][0].train.steps) == (2, 0)
    assert {one.lora.init_adapter for one, _ in found[1:]} == {str(tmp_path / "a-mio-sft" / "adapter")}
    assert [one.train.sft_epochs for one, _ in found] == [0, 0, 0]


def test_a_name_that_is_taken_is_told_before_anything_is_trained(tmp_path):
    (tmp_path / "x").mkdir()
    with pytest.raises(RunError, match="--name x: taken"):
        stages([recipe(sft_epochs=1)], tmp_path, ["x"])
