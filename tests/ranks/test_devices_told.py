"""A run that goes on with another number of devices is told to be on as many, wherever that is told."""

import sys

import pytest

from mio_local.cli import main
from mio_local.recipe import build
from mio_local.reports.document import collect
from mio_local.runs.history import read
from mio_local.training.loop import train
from mio_local.training.prepare import start
from mio_local.training.reopen import reopen
from mio_tui.live import header
from mio_tui.live.reading import Reading
from mio_tui.live.system import machine
from tests.helpers.ranks.ranked_runs import tables
from tests.helpers.ranks.thread_ranks import thread_ranks


def test_the_devices_it_goes_on_with_are_told(tmp_path, tiny_model, pairs, monkeypatch, capsys):
    recipe = tables(tiny_model, pairs, "cuda", steps=4)
    recipe["backend"]["devices"] = 2
    with thread_ranks(monkeypatch):
        job = start(build(recipe, "test"), tmp_path, "moved")
        assert job.facts["device"] == "2 x CPU"
        events = train(job)
        while next(events).type != "checkpoint":
            pass
        assert next(events).type == "step"  # the checkpoint is there
        events.close()
        job = reopen(job.run, devices=3)
        assert job.facts["device"] == "3 x CPU"
        list(train(job))
    run = job.run
    assert read(run).last("started")["device"] == "2 x CPU"
    shown = machine(read(run), run.read_info(), 0)
    assert shown.device == "3 x CPU · cuda"
    line = header.state_line(run, run.read_status(), Reading(machine=shown), read(run), "", 140).plain
    assert line.endswith("LoRA r4 · 3 devices")
    assert dict(collect([run]).parts[0].facts)["backend"] == "cuda, 3 x CPU"
    monkeypatch.setattr(sys, "argv", ["mio-local", "show", "moved", "--runs", str(tmp_path)])
    with pytest.raises(SystemExit):
        main()
    assert "cuda, 3 x CPU" in capsys.readouterr().out
