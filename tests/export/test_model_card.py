"""The model card: the figures of the very weights that go with it, and texts from outside as text."""

import re

import pytest

from mio_local.export.model_card import Licences, card
from mio_local.recipe import build, read_toml
from mio_local.reports.markdown import homeless
from mio_local.runs import history
from tests.helpers import fakes

PAIRS = {"type": "benchmark", "step": 100, "name": "preference", "metric": "loss", "of": "policy", "count": 100}


def written(run, step=100, pictured=True, info=None):
    past = history.read(run)
    told = run.read_info() if info is None else info
    return card(past, told, Licences("", ""), "peft", "me/tuned", step, pictured=pictured)


def changed(run, **tables):
    """The run with other settings."""
    recipe = build(read_toml(run.recipe), "test")
    update = {name: getattr(recipe, name).model_copy(update=keys) for name, keys in tables.items()}
    run.recipe.write_text(recipe.model_copy(update=update).dump(), encoding="utf-8")
    return run


def rows(text):
    return [[cell.strip() for cell in line.split("|")[1:-1]] for line in text.splitlines() if line.startswith("|")]


@pytest.mark.parametrize(("step", "seen"), [(100, 100), (149, 100), (200, 200), (50, 50)])
def test_the_figures_are_those_of_the_step(folder, step, seen):
    found = rows(written(fakes.make_run(folder, "one", steps=200), step))
    losses = [f"{fakes.figures(at, 'mio')['loss']:.4f}" for at in (0, seen)]
    assert ["loss", *losses] in found
    assert ["figure", "before", f"after {seen} steps"] in found


def test_benchmarks_are_the_newest_of_that_step_and_of_held_out_pairs(folder):
    run = fakes.make_run(folder, "one", steps=200)
    fakes.append(
        run, PAIRS | {"value": 0.1}, PAIRS | {"value": 0.2, "low": 0.15, "high": 0.25, "data": ""},
        PAIRS | {"value": 0.3, "data": "train.jsonl"}, PAIRS | {"value": 0.4, "step": 200},
        PAIRS | {"value": 0.5, "name": "gsm8k", "stderr": 0.02, "count": 64},
    )  # fmt: skip
    found = rows(written(run))
    assert ["preference", "loss", "policy", "0.2", "0.15 to 0.25", "100"] in found
    assert ["gsm8k", "loss", "policy", "0.5", "± 0.02", "64"] in found
    assert len([row for row in found if row[2:3] == ["policy"]]) == 2


def test_a_run_without_evaluations(folder):
    run = fakes.make_run(folder, "one", steps=20, stream=[fakes.step_event(1)])
    text = written(run, 1, pictured=False)
    assert "Nothing was evaluated on held-out pairs" in text
    assert not re.search(r"—|\?|after 0|curves", text.replace("M.from", "").partition("## The recipe")[0])


@pytest.mark.parametrize(("reduction", "drawn"), [("sum", True), ("mean", False)])
def test_nats_of_an_answer_are_promised_where_the_objective_has_them(folder, reduction, drawn, capsys):
    from mio_local.cli import run as command

    run = changed(fakes.make_run(folder, "one", steps=100), loss={"reduction": reduction})
    assert ("+6.93 nats" in written(run)) == drawn
    assert command(["show", "one", "--runs", str(folder)]) == 0
    assert ("+6.93 nats" in capsys.readouterr().out) == drawn


def test_the_stage_is_named(folder):
    taught = fakes.make_run(folder, "taught", steps=100, loss="sft")
    assert "supervised" in written(taught)
    assert "preference-tuned" not in written(taught)
    assert "- preference\n" not in written(taught)
    tuned = changed(fakes.make_run(folder, "tuned", steps=100), lora={"init_adapter": "/x/taught/adapter"})
    text = written(tuned)
    assert "preference-tuned with MIO" in text
    assert "going on from an adapter that was trained before" in text
    assert "Before is the model it began with" in text
    assert "/x/taught" not in text


@pytest.mark.parametrize(("tables", "local"), [
    ({}, ""), ({"model": {"name": "/m/base"}}, "model.name"), ({"data": {"source": "pairs.jsonl"}}, "data.source"),
    ({"lora": {"init_adapter": "/a"}}, "lora.init_adapter"), ({"data": {"template": "/t.jinja"}}, "data.template"),
])  # fmt: skip
def test_what_can_be_trained_again_is_promised_and_nothing_else(folder, tables, local):
    run = changed(fakes.make_run(folder, "one", steps=100), data={"source": "org/pairs"})
    text = written(changed(run, **tables))
    assert ("trains it again" in text) == (not local)
    assert f"what it names in {local} is not" in text.replace("\\", "") or not local


HOSTILE = "a|b\n\n## injected <img src=x> [x](javascript:a)\x1b[31m"


def test_what_comes_from_outside_is_text(folder):
    run = fakes.make_run(folder, "one", steps=100)
    changed(run, data={"source": HOSTILE.replace("/", ""), "system": "```\n\n<img src=x> [x](javascript:a)"})
    fakes.append(run, PAIRS | {"name": HOSTILE, "value": 1.0})
    text = written(run, info={"model_revision": HOSTILE, "sessions": [{"versions": {HOSTILE: [HOSTILE]}}]})
    assert all(letter.isprintable() or letter == "\n" for letter in text)
    outside = re.sub(r"^(`{3,})\w*\n.*?\n\1$", "", text, flags=re.M | re.S)
    assert not re.search(r"^## injected|(?<!\\)<img|(?<![\\!])\[x\]", outside, flags=re.M)
    assert {len(row) for row in rows(outside.replace("\\|", ""))} == {3, 6}


@pytest.mark.parametrize("info", [{"facts": None, "sessions": 5, "adapted_layers": None}, {"sessions": [None]}, {}])
def test_a_damaged_run_has_a_card(folder, info):
    run = fakes.make_run(folder, "one", steps=100)
    fakes.append(run, {"type": [], "step": 1}, {"type": "step", "loss": 1}, {"type": "benchmark", "step": 100})
    assert "weights after step 100" in written(run, info=info)


def test_the_bare_home_folder_is_not_named_either(monkeypatch):
    monkeypatch.setenv("HOME", "/home/me")
    assert homeless("cd /home/me; ls /home/me. '/home/me'") == "cd ~; ls ~. '~'"
    for other in ("/home/meg", "/home/me-too", "/home/me.old", "/x/home/me"):
        assert homeless(other) == other
