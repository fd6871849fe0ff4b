"""A run's other name: what refers to the run follows, or the name stays; and runs that recipes call by name."""

import math
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from mio_local import cli
from mio_local.errors import ModelError, RunError
from mio_local.recipe import Recipe, build, read_toml
from mio_local.runs.directory import Run, create, list_runs
from mio_local.runs.launch import lay_out
from mio_local.runs.naming import located, own, rename
from mio_local.training.integrity import check_recipe
from tests.helpers import fakes
from tests.helpers.fakes import read_events

HERE = ["--device", "cpu", "--set", "data.eval_fraction=0.25", "--set", "eval.sample_tokens=0", "--steps", "2"]


def resting(folder: Path, name: str, **tables: dict[str, str]) -> Run:
    """A run whose recipe names these."""
    recipe = build({"model": {"name": "m/n"}, **tables}, "test")
    run = Run(folder / name)
    create(run, recipe.dump(), {"name": name, "created": 1.0, "model_folder": str(folder / "taught/exports/merged")})
    run.write_status(state="stopped", step=0)
    return run


def recipe_of(run: Run) -> Recipe:
    check_recipe(run)  # what run.json says of it has followed
    return build(read_toml(run.recipe), "test")


def test_what_refers_to_a_run_follows_its_name(folder: Path) -> None:
    run = fakes.make_run(folder, "taught", steps=10)
    fakes.make_run(folder, "taught-2", steps=10)
    tuned = resting(folder, "tuned", lora={"init_adapter": str(folder / "taught" / "adapter")})
    fed = resting(folder, "fed", data={"source": str(folder / "taught/chat-pairs.jsonl")})
    other = resting(folder, "other", lora={"init_adapter": str(folder / "taught-2" / "adapter")})
    waits = fakes.make_run(folder, "waits", "queued", after="taught", since=3.0, needs=True)
    order = [one.name for one in list_runs(folder)]
    before = other.recipe.read_bytes(), run.recipe.read_bytes()
    renamed, behind = rename(run, "school")
    assert (renamed.name, renamed.read_info()["name"], behind) == ("school", "school", [])
    assert not run.path.exists()
    assert recipe_of(tuned).lora.init_adapter == str(folder / "school" / "adapter")
    assert tuned.read_info()["model_folder"] == str(folder / "school/exports/merged")
    assert recipe_of(fed).data.source == str(folder / "school/chat-pairs.jsonl")
    assert (other.recipe.read_bytes(), renamed.recipe.read_bytes()) == before
    status = waits.read_status()
    assert (status["state"], status["after"], status["since"], status["needs"]) == ("queued", "school", 3.0, True)
    assert [one.name for one in list_runs(folder)] == [{"taught": "school"}.get(name, name) for name in order]


@pytest.mark.parametrize("name", ["taken", "a/b", "", "..", ".x", "x" * 101, "a\nb"])
def test_a_name_that_cannot_be_is_told(folder: Path, name: str) -> None:
    run = fakes.make_run(folder, "one", steps=10)
    (folder / "taken").mkdir()
    with pytest.raises(RunError):
        rename(run, name)
    assert [one.name for one in list_runs(folder)] == ["one"]


def test_a_run_at_work_keeps_its_name_and_that_of_what_it_rests_on(folder: Path) -> None:
    run = fakes.make_run(folder, "taught", "training", steps=10)
    with fakes.alive(run), pytest.raises(RunError, match="run taught is training, so it cannot be renamed"):
        rename(run, "school")
    tuned = resting(folder, "tuned", lora={"init_adapter": str(folder / "taught" / "adapter")})
    tuned.write_status(state="training", step=1)
    with (
        fakes.alive(tuned),
        pytest.raises(RunError, match="run tuned is training, so it cannot be changed with taught"),
    ):
        rename(run, "school")
    assert run.exists()


def test_a_run_that_is_damaged_is_named(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = fakes.make_run(folder, "taught", steps=10)
    tuned = resting(folder, "tuned", lora={"init_adapter": str(folder / "taught")})
    tuned.info.write_text("{")
    assert cli.run(["rename", "taught", "school", "--runs", str(folder)]) == 0
    assert "! tuned still calls it by the old name" in capsys.readouterr().out
    assert not run.exists()


def test_a_link_is_renamed_and_not_what_it_leads_to(folder: Path, tmp_path: Path) -> None:
    real = fakes.make_run(tmp_path / "away", "real", steps=10)
    folder.mkdir()
    (folder / "link").symlink_to(real.path)
    renamed, _ = rename(own(folder, "link"), "other")
    assert renamed.path.readlink() == real.path
    assert real.exists()


def test_a_run_of_this_folder_is_meant(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = fakes.make_run(folder, "one", steps=10)
    away = fakes.make_run(folder.parent / "away", "two", steps=10)
    assert own(folder, "one") == own(folder, str(run.path)) == own(folder, f"{run.path}/") == run
    monkeypatch.chdir(folder)
    assert own(folder, "./one") == run
    for name in (str(away.path), "../away/two", "..", ".", "", f"{run.path}/adapter"):
        with pytest.raises(RunError, match="no run "):
            own(folder, name)


def test_a_recipe_may_call_a_run_by_its_name(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = fakes.make_run(folder, "taught", steps=10)
    named = build({"lora": {"init_adapter": "taught"}}, "test")
    with pytest.raises(RunError, match="run taught: has no adapter before it is done or stopped; add: --after taught"):
        located(named, folder)
    assert located(named, folder, now=False).lora.init_adapter == str(run.adapter)
    run.adapter.mkdir()
    assert located(named, folder).lora.init_adapter == str(run.adapter)
    assert build(read_toml(lay_out(named, folder).recipe), "test").lora.init_adapter == str(run.adapter)  # the app's
    with pytest.raises(ModelError, match=r"tought: no such adapter folder, and no run of .* \(nearest: taught\)"):
        located(build({"lora": {"init_adapter": "tought"}}, "test"), folder)
    monkeypatch.chdir(tmp_path)
    os.mkdir("taught")  # a folder of that name here goes before, where an adapter is in it
    assert located(named, folder).lora.init_adapter == str(run.adapter)
    Path("taught/adapter_config.json").write_text("{}")
    assert located(named, folder) == named


@pytest.mark.parametrize("by", ["flag", "recipe file"])
def test_training_goes_on_from_a_run_by_its_name(
    by: str, runs_home: Path, tmp_path: Path, tiny_model: Path, tiny_pairs: Path, mistake: Callable[..., str]
) -> None:
    """As the README has it. Its first loss is ln 4: policy and reference are the first run's model."""
    words = ["train", "--model", str(tiny_model), "--data", str(tiny_pairs), *HERE]
    assert cli.run([*words, "--name", "taught", "--loss", "sft", "--learning-rate", "0.01", "--rank", "4"]) == 0
    (tmp_path / "more.toml").write_text('[lora]\ninit_adapter = "taught"\n')
    more = ["--init-adapter", "taught"] if by == "flag" else [str(tmp_path / "more.toml")]
    assert cli.run([*words, *more, "--name", "tuned"]) == 0
    tuned = Run(runs_home / "tuned")
    first = next(event for event in read_events(tuned.events) if event["type"] == "step")
    assert first["loss"] == pytest.approx(math.log(4), abs=1e-5)
    assert recipe_of(tuned).lora.init_adapter == str(runs_home / "taught" / "adapter")
    assert recipe_of(tuned).lora.rank == 4
    assert cli.run(["rename", "taught", "school"]) == cli.run(["check", "tuned"]) == 0
    assert "no run of that name" in mistake(*words, "--init-adapter", "taught", "--name", "again")


def test_a_run_is_no_model(folder: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """But a folder of its name is one, and a name that no run has."""
    monkeypatch.chdir(tmp_path)
    resting(folder, "mine")
    with pytest.raises(ModelError, match=r"^--model mine: is a run; .* --init-adapter mine, .* --from mine$"):
        located(build({"model": {"name": "mine"}}, "test"), folder)
    assert located(build({"model": {"name": "other"}}, "test"), folder).model.name == "other"
    (tmp_path / "mine").mkdir()
    assert located(build({"model": {"name": "mine"}}, "test"), folder).model.name == "mine"
