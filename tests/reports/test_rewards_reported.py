"""A run of rounds in the report, in `show`, as CSV, as a picture and at a tracker: the figures of its events."""

import csv
import json

import pytest

from mio_local.cli import run as command
from mio_local.commands.report import render
from mio_local.reports.csv_table import write_csv
from mio_local.reports.document import collect
from mio_local.runs.history import read
from mio_local.tracking.mirror import figures
from tests.helpers import fakes
from tests.helpers.tui import fake_rounds as rounds


@pytest.fixture
def run(tmp_path):
    """At step 120 of 400, in its third round: rewards 0.35, 0.4 and 0.45 drawn, 0.3, 0.35 and 0.4 held out."""
    return fakes.make_run(tmp_path, "rounds", steps=120, stream=list(rounds.events(120)))


def test_markdown_has_a_row_for_each_round_and_each_held_out_reward(run):
    rows = render(collect([run]), ".md").splitlines()
    assert "| rounds | 3 | 100 | 0.450 ± 0.300 | 0.450 | 0.650 | 4 | 43.0 | +0.400 | 0.850 |" in rows
    assert "| rounds | 100 | 0.400 ± 0.040 | 100 | 40 | 38.0 |" in rows


def test_the_page_draws_them_and_of_a_run_of_pairs_does_not(run, tmp_path):
    titles = ("Reward", "Pass@1, share of answers", "Pass@k, share of prompts", "Answer length, tokens",
              "KL, nats per answer", "Entropy, nats per token")  # fmt: skip
    page = render(collect([run]), ".html")
    assert all(f"<h3>{title}</h3>" in page for title in titles)
    assert "<td class=\"n\">0.450 ± 0.300</td>" in page
    pairs = render(collect([fakes.make_run(tmp_path, "pairs", steps=120)]), ".html")
    assert not any(f"<h3>{title}</h3>" in pairs for title in titles)
    assert "<h2>Rounds" not in pairs


def test_a_round_that_lacks_everything_is_dashes(tmp_path):
    stream = [{"type": "round", "step": 0}, {"type": "reward", "step": 0, "reward/held_out": "x"}]
    run = fakes.make_run(tmp_path, "odd", stream=[*fakes.events(50), *stream])
    assert "| odd | — | 0 | — ± — | — | — | — | — | — | — |" in render(collect([run]), ".md").splitlines()
    assert "— ± —" in render(collect([run]), ".html")


def test_show_has_both(run, capsys):
    assert command(["show", "rounds", "--runs", str(run.path.parent)]) == 0
    out = capsys.readouterr().out
    assert "3 100 0.450 0.300 0.450 0.650 43 +0.400 0.850" in " ".join(out.split())
    assert "step 100: held out: reward of greedy answers 0.400 ± 0.040 (100 prompts)" in out
    assert "reward 0.30 ± 0.04 before, 0.40 ± 0.04 now on 100 held-out prompts: no measurable change" in out


def test_csv_has_their_rows(run, tmp_path):
    write_csv([read(run)], tmp_path / "out.csv")
    with (tmp_path / "out.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if row["kind"] in ("round", "reward")]
    assert [row["reward/mean"] for row in rows if row["kind"] == "round"] == ["0.35", "0.4", "0.45"]
    assert [float(row["reward/held_out"]) for row in rows if row["kind"] == "reward"] == [0.3, 0.35, 0.4]
    assert "Ann has" not in (tmp_path / "out.csv").read_text()


@pytest.mark.slow
def test_the_picture_is_higher_by_their_row(run, tmp_path):
    heights = []
    for one in (run, fakes.make_run(tmp_path, "pairs", steps=120)):
        out = tmp_path / f"{one.name}.png"
        assert command(["plot", str(one.path), "--out", str(out)]) == 0
        heights.append(int.from_bytes(out.read_bytes()[20:24], "big"))  # of the PNG's header, in pixels
    assert heights == [round(11.2 * 130), round(7.2 * 130)]


def test_a_tracker_gets_the_figures_of_rounds_and_no_answer():
    sent = figures(rounds.round_event(2, 0.5))
    assert (sent["round/reward/mean"], sent["round/pass@k"], sent["round/kl"]) == (0.5, 0.7, 0.2)
    assert "group" not in json.dumps(sent)
    assert figures(rounds.reward_event(50, 0.4))["eval/reward/held_out"] == 0.4
