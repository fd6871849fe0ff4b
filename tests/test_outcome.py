"""What a report says of how a run went."""

import pytest

from mio_local.commands import report
from mio_local.document import collect, short
from mio_local.outcome import judge, proportion
from tests import fakes


@pytest.mark.parametrize(
    ("values", "wide", "mark"),
    [
        ([0, 1, 2], 0.1, "yes"), ([0, -1, 2], 0.1, "partly"), ([0, 1, -2], 0.1, "no"), ([0, -2], 0.1, "no"),
        ([0, 1, 0.005], 0.1, "level"), ([0, 1, 2], 40, "level"), ([0, -0.005, 2], 0.1, "yes"), ([0], 0.1, "unknown"),
    ],
)  # fmt: skip
def test_the_verdict(folder, values, wide, mark):
    stream = [
        {"type": "eval", "step": 10 * n, "delta/chosen": value, "pairs": 100, "z/chosen_p10": -0.1 * wide / 2,
         "z/chosen_p90": 0.1 * wide / 2} for n, value in enumerate(values)
    ]  # fmt: skip
    (part,) = collect([fakes.make_run(folder, "one", stream=stream)]).parts
    assert part.outcome.mark == judge(part.history).mark == mark


def test_wilson():
    assert proportion(0.5, 100) == pytest.approx((0.4038, 0.5962), abs=1e-4)
    assert proportion(0.0, 10) == pytest.approx((0.0, 0.2775), abs=1e-4)
    assert proportion(None, 10) == proportion(0.5, 0) == proportion(2, 10) == (None, None)


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
