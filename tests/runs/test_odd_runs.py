"""The commands on runs with odd names, in odd places, and with files that hold anything."""

import json
import os
import shlex
from pathlib import Path

import pytest

from mio_local import cli
from mio_local.flags import find_recipe
from mio_local.runs.directory import Run, called
from tests.helpers import fakes
from tests.helpers.tui.runs_screen import BROKEN

BARE = {"type": "eval", "step": 50, "loss": None, "delta/chosen": "x"}
ODD = [BARE, {"type": "note", "step": 0}, {"type": "task", "step": 0}, {"type": "control", "step": 1},
       {"type": "step", "step": 1}, {"type": "progress", "step": 1},
       {"type": "note", "step": 2, "level": [], "text": "\x1b[31mred"}]  # fmt: skip


def said(capsys, *arguments):
    """What a command that must end well prints; no control character is in it."""
    assert cli.run([str(argument) for argument in arguments]) == 0
    text = capsys.readouterr().out
    assert all(letter.isprintable() or letter == "\n" for letter in text), text
    return text


def test_checkpoints_are_ordered_by_their_number(folder):
    run = fakes.make_run(folder, "long", steps=50)
    for name in ("step-999900", "step-1000000", "step-000100", "step-old"):
        (run.checkpoints / name).mkdir()
        (run.checkpoints / name / "trainer.json").touch()
    assert [path.name for path in run.saved()] == ["step-000100", "step-999900", "step-1000000"]
    assert run.last_step() == 1_000_000


def test_runs_lists_what_the_app_lists(folder, capsys):
    run = fakes.make_run(folder, "one", steps=100)
    fakes.set_status(run, held_out={"delta/chosen": 1.239, "rewards/accuracies": 0.714}, metrics={"delta/chosen": -9})
    for index, held in enumerate(BROKEN):
        fakes.make_run(folder, f"odd-{index:02}", steps=50).status.write_text(json.dumps(held))
    fakes.make_run(folder, "\x1b[31mred", steps=50)
    lines = said(capsys, "runs", "--runs", folder).splitlines()
    assert any(line.split() == ["one", "done", "mio", "Qwen3-0.6B", "100", "+1.24", "0.71"] for line in lines)
    assert any(line.startswith("\\u{1b}[31m") for line in lines)
    assert len([line for line in lines if line.startswith("odd-")]) == len(BROKEN)


def test_a_folder_whose_name_is_no_text(folder, capsys):
    fakes.make_run(folder, "b\udcffd", steps=50)
    assert "b\\u{dcff}d" in said(capsys, "runs", "--runs", folder)


@pytest.mark.parametrize("command", ["show", "watch"])
def test_events_that_lack_everything(folder, capsys, command):
    fakes.make_run(folder, "odd", steps=50, stream=ODD, reason="\x1b]0;title\x07")
    text = said(capsys, command, "odd", "--runs", folder)
    assert "\\u{1b}[31mred" in text
    assert "—" in text


def test_a_queued_run_can_be_begun(folder, capsys):
    fakes.make_run(folder, "waits", "queued", stream=[])
    assert "mio-local resume waits" in said(capsys, "show", "waits", "--runs", folder)


@pytest.mark.parametrize("first", [True, False])
def test_the_runs_folder_before_the_command_or_after_it(mistake, tmp_path, first):
    place = ["--runs", tmp_path / "train"]
    words = ["train", "--model", "nowhere", "--data", "pairs.jsonl", "--beta", "0"]
    assert "--beta 0" in mistake(*(place + words if first else words + place))


def test_the_command_is_the_first_word_that_is_no_folder():
    assert cli.command_of(["--runs", "train", "data", "check"]) == "data"
    assert cli.command_of(["--runs=train"]) == ""
    assert cli.command_of(["train", "--runs", "data"]) == "train"


@pytest.mark.parametrize("arguments", [
    ("show", "~nouser"), ("show", "~nouser/run"), ("runs", "--runs", "~nouser/x"),
    ("train", "~nouser/recipe.toml"), ("train", "~nouser"),
])  # fmt: skip
def test_a_user_that_is_not_there_is_named(mistake, arguments):
    assert "~nouser" in mistake(*arguments)
    assert find_recipe("~nouser/recipe.toml") == Path("~nouser/recipe.toml")


@pytest.mark.parametrize("command", ["runs", "show"])
def test_a_folder_that_cannot_be_listed_is_named(mistake, runs_home, monkeypatch, command):
    runs_home.mkdir()
    whole = os.listdir

    def refuse(path="."):
        if path == runs_home:
            raise PermissionError(13, "Permission denied")
        return whole(path)

    monkeypatch.setattr(os, "listdir", refuse)
    assert f"{runs_home}: cannot be read: Permission denied" in mistake(command, *["x"] * (command == "show"))


def test_what_an_error_quotes_is_made_visible(mistake):
    assert "\\u{1b}[31mred" in mistake("show", "\x1b[31mred")


@pytest.mark.parametrize("name", ["plain", "a b", "it's", "$HOME"])
def test_a_command_names_a_run_as_a_shell_reads_it(folder, monkeypatch, name):
    run = Run(folder / name)
    typed, flag, place = shlex.split(called(run))
    assert (typed, flag, place) == (name, "--runs", str(folder))
    monkeypatch.setenv("MIO_LOCAL_RUNS", str(folder))
    assert shlex.split(called(run)) == [name]
    monkeypatch.setenv("MIO_LOCAL_RUNS", "~nouser")
    assert "--runs" in called(run)


@pytest.mark.parametrize("command", ["show", "plot"])
def test_events_that_make_no_sense_are_passed_over_and_counted(folder, capsys, command):
    run = fakes.make_run(folder, "one", steps=50)
    fakes.append(run, {"type": [], "step": 1}, {"type": "step", "loss": 1}, {"type": "benchmark", "step": 3})
    info = {"facts": None, "adapted_layers": None, "sessions": None, "created": "x", "model_revision": []}
    run.info.write_text(json.dumps(info), encoding="utf-8")
    assert ("passed over: 2" in said(capsys, command, run.path)) == (command == "show")
