"""What a report says of how a run went."""

import pytest

from mio_local.commands import report
from mio_local.recipe import build, read_toml
from mio_local.reports.document import collect, short
from mio_local.reports.outcome import judge
from mio_local.runs.history import read
from tests.helpers import fakes


def held(values, wide=0.1, **more):
    """Evaluations every ten steps; `wide` is half of the interval."""
    figures = {"pairs": 100, "delta/chosen_stderr": wide / 1.96} | more
    return [{"type": "eval", "step": 10 * n, "delta/chosen": value, **figures} for n, value in enumerate(values)]


@pytest.mark.parametrize("loss", ["mio", "sft", "ipo"])
@pytest.mark.parametrize(
    ("values", "wide", "mark"),
    [
        ([0, 1, 2], 0.1, "yes"), ([0, -1, 2], 0.1, "partly"), ([0, 1, -2], 0.1, "no"), ([0, -2], 0.1, "no"),
        ([0, 1, 0.005], 0.1, "level"), ([0, 1, 2], 40, "level"), ([0, -0.005, 2], 0.1, "yes"), ([0], 0.1, "unknown"),
        ([0, 1, None], 0.1, "diverged"), ([0, None, 1], 0.1, "yes"),
    ],
)  # fmt: skip
def test_the_verdict(folder, values, wide, mark, loss):
    (part,) = collect([fakes.make_run(folder, "one", loss=loss, stream=held(values, wide))]).parts
    assert part.outcome.mark == judge(part.history).mark == mark


def verdict(folder, stream):
    return judge(read(fakes.make_run(folder, "one", "failed", stream=stream)))


def test_a_run_that_diverged_is_not_judged_by_what_came_before(folder):
    steps = [fakes.step_event(step) for step in range(1, 21)]
    found = verdict(folder, [*steps, *held([0, 1]), {"type": "eval", "step": 20, "loss": None}])
    assert found.headline == "The run diverged at step 20."
    assert found.chosen is None


def test_a_step_that_is_no_number_is_a_divergence(folder):
    note = {"type": "note", "step": 15, "level": "error", "code": "nonfinite", "text": "the loss after step 15 is nan"}
    assert verdict(folder, [*held([0, 1]), note]).headline == "The run diverged at step 15."


def test_training_batches_are_judged_only_where_nothing_was_evaluated(folder, tmp_path):
    steps = [fakes.step_event(step) for step in range(1, 101)]
    found = verdict(folder, steps)
    assert (found.where, found.mark) == ("training batches", "yes")
    assert verdict(tmp_path / "evaluated", [*held([0]), *steps]).mark == "unknown"


def test_without_a_standard_error_there_is_a_figure_and_no_verdict(folder):
    found = verdict(folder, held([0, 1.25], **{"delta/chosen_stderr": None}))
    assert found.mark == "unknown"
    assert "changed by +1.250 nats" in found.detail


def test_a_run_that_began_with_an_adapter_is_compared_with_that(folder):
    run = fakes.make_run(folder, "tuned", steps=100)
    recipe = build(read_toml(run.recipe), "test")
    lora = recipe.lora.model_copy(update={"init_adapter": "/x/taught/adapter"})
    run.recipe.write_text(recipe.model_copy(update={"lora": lora}).dump(), encoding="utf-8")
    taught = fakes.make_run(folder, "taught", steps=100, loss="sft")
    for suffix in (".html", ".md"):
        alone, plain, both = (report.render(collect(runs), suffix) for runs in ([run], [taught], [taught, run]))
        assert "untrained" not in alone
        assert "than in the model it began with" in alone
        assert "than in the untrained model" in plain
        assert "it began with" not in plain
        assert "as change from the model it began with" in both


@pytest.mark.parametrize(("asked", "tiles"), [([0], 0), ([0, 50], 1)])
def test_questions_before_and_after_need_both(folder, asked, tiles):
    tasks = [{"type": "task", "step": step, "accuracy": 0.5, "correct": 5, "questions": 10} for step in asked]
    text = report.render(collect([fakes.make_run(folder, "one", stream=[*held([0, 1]), *tasks])]), ".html")
    assert text.count("before: 0.500") == tiles


@pytest.mark.parametrize(
    ("name", "said"),
    [("org/name", "org/name"), ("/a/b/qwen", "qwen"), ("/a/demo/model", "demo/model"), ("./x.jsonl", "x.jsonl"),
     ("/", "/"), ("/demo/train.jsonl", "demo/train.jsonl")],
)  # fmt: skip
def test_short_names(name, said):
    assert short(name) == said


def test_a_long_run_stays_small(folder):
    run = fakes.make_run(folder, "long", steps=6000, total=6000)
    text = report.render(collect([run]), ".html")
    assert len(text) < 250_000
    assert "24 of 121 evaluations, evenly chosen." in text
