"""CSV and PNG of a comparison, read back from the disk."""

import asyncio
import csv
import os
import struct
import sys
from pathlib import Path

import pytest

from mio_local.errors import RunError
from mio_local.reports.csv_table import write_csv
from mio_local.runs import history
from mio_tui.compare import save
from tests.helpers import fakes


def read_back(file: Path) -> list[dict[str, str]]:
    with file.open(encoding="utf-8", newline="") as opened:
        return list(csv.DictReader(opened))


def test_csv_holds_every_figure_of_every_step_and_evaluation(tmp_path):
    runs = [fakes.make_run(tmp_path, "a", steps=120), fakes.make_run(tmp_path, "b", steps=60, loss="dpo")]
    out = tmp_path / "out.csv"
    assert write_csv([history.read(run) for run in runs], out) == (120 + 3) + (60 + 2)

    rows = read_back(out)
    assert list(rows[0])[:4] == ["run", "kind", "step", "time"]
    assert [(row["run"], row["kind"]) for row in rows].count(("a", "step")) == 120
    for row in rows:
        expected = fakes.figures(int(row["step"]), {"a": "mio", "b": "dpo"}[row["run"]])
        assert {key: float(row[key]) for key in expected} == expected
        assert row["perf/seconds"] == ("0.5" if row["kind"] == "step" else "")
    assert [path.name for path in tmp_path.glob(".out*")] == []


def test_csv_of_odd_events_keeps_its_columns(tmp_path):
    stream = [
        {"type": "step", "step": 1, "time": 5.5, "loss": None, "run": "other", "kind": 7, "text": "[red]", "ok": True},
        {"type": "step", "step": 2, "time": None, "loss": 0.5, "a,\"b\"\n": 3},
        {"type": "eval", "step": 2, "time": 6.5, "loss": "low", "deep": [1]},
    ]  # fmt: skip
    run = fakes.make_run(tmp_path, "=1+1, [red]\x1b[31m\nשלום 🦊", stream=stream)
    out = tmp_path / "out.csv"
    write_csv([history.read(run)], out)
    rows = read_back(out)
    assert list(rows[0]) == ["run", "kind", "step", "time", 'a,"b"\n', "loss"]
    assert [tuple(row.values())[1:] for row in rows] == [
        ("step", "1", "5.5", "", ""), ("step", "2", "", "3", "0.5"), ("eval", "2", "6.5", "", ""),
    ]  # fmt: skip
    assert {row["run"] for row in rows} == {run.name}


def test_csv_takes_a_name_that_is_no_text(tmp_path):
    run = fakes.make_run(tmp_path, "caf\udce9", steps=1)  # a folder named in Latin-1
    write_csv([history.read(run)], tmp_path / "out.csv")
    assert {row["run"] for row in read_back(tmp_path / "out.csv")} == {"caf\\udce9"}


def test_csv_of_runs_without_figures_is_its_header(tmp_path):
    run = fakes.make_run(tmp_path, "a", state="queued", steps=0, stream=[])
    assert write_csv([history.read(run)], tmp_path / "out.csv") == 0
    assert (tmp_path / "out.csv").read_text(encoding="utf-8") == "run,kind,step,time\n"


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["a", "b"], "compare-a-b"),
        (["../../etc/x", "-b"], "compare-etc-x-b"),
        (["[red]x[/INST]", "\x1b[31m"], "compare-red-x-INST-31m"),
        (["שלום", "🦊"], "compare-run-run"),
        (["a" * 200, "b" * 200], f"compare-{'a' * 55}-{'b' * 55}"),
    ],
)
def test_file_names_are_short_and_plain(names, expected):
    assert save.stem(names) == expected


def test_names_of_four_long_runs_still_fit():
    assert len(save.stem([letter * 255 for letter in "abcd"])) <= save.LONGEST


def test_files_go_to_the_working_folder_if_they_can(tmp_path, monkeypatch):
    runs, here = tmp_path / "runs", tmp_path / "here"
    here.mkdir()
    past = [history.read(fakes.make_run(runs, name, steps=1)) for name in ("a", "b")]
    monkeypatch.chdir(here)
    assert save.target(runs, past) == here / "compare-a-b"
    monkeypatch.setattr(save.os, "access", lambda path, mode: path != here)  # root may write anywhere
    assert save.target(runs, past) == runs / "compare-a-b"
    here.rmdir()
    assert save.target(runs, past) == runs / "compare-a-b"


@pytest.mark.slow
async def test_png_shows_both_runs_whatever_their_names(tmp_path):
    names = ("--out [red]$x$ \\$y$ {0}", "b\x1b[31m שלום")
    past = [history.read(fakes.make_run(tmp_path, name, steps=60)) for name in names]
    written = await save.export(past, ("csv", "png"), tmp_path / "compare-a-b")
    assert [file.name for file in written] == ["compare-a-b.csv", "compare-a-b.png"]
    head = written[1].read_bytes()[:24]
    assert head[:8] == b"\x89PNG\r\n\x1a\n"
    assert struct.unpack(">II", head[16:24]) == (1352, 936)  # 10.4 x 7.2 inches of 130 dots
    assert len(read_back(written[0])) == 2 * (60 + 2)


async def test_a_run_without_figures_is_refused_in_one_line(tmp_path):
    past = [history.read(fakes.make_run(tmp_path, "a", state="queued", steps=0, stream=[]))]
    with pytest.raises(RunError) as caught:
        await save.export(past, ("png",), tmp_path / "out")
    assert str(caught.value) == "out.png: run a has no figures yet; nothing to draw"


async def test_csv_into_a_missing_folder_is_refused_in_one_line(tmp_path):
    past = [history.read(fakes.make_run(tmp_path, "a", steps=1))]
    with pytest.raises(RunError, match=r"out\.csv: cannot be written: No such file or directory$"):
        await save.export(past, ("csv",), tmp_path / "gone" / "out")


async def test_a_drawing_that_hangs_is_ended(tmp_path, monkeypatch):
    past = [history.read(fakes.make_run(tmp_path, "a", steps=1))]
    slow = tmp_path / "slow"
    code = f"import os, time\nopen({str(tmp_path / 'pid')!r}, 'w').write(str(os.getpid()))\ntime.sleep(60)\n"
    slow.write_text(f"#!{sys.executable}\n{code}", encoding="utf-8")
    slow.chmod(0o755)
    monkeypatch.setattr(save.sys, "executable", str(slow))
    monkeypatch.setattr(save, "PLOT_SECONDS", 1)
    with pytest.raises(RunError, match="longer than 1 s"):
        await save.export(past, ("png",), tmp_path / "out")
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "pid").read_text(encoding="utf-8")), 0)


async def test_a_drawing_that_is_given_up_leaves_no_process(tmp_path, monkeypatch):
    past = [history.read(fakes.make_run(tmp_path, "a", steps=1))]
    begun: list[asyncio.subprocess.Process] = []
    create = asyncio.create_subprocess_exec

    async def spy(*args, **options):
        begun.append(await create(sys.executable, "-c", "import time; time.sleep(60)", **options))
        return begun[-1]

    monkeypatch.setattr(asyncio, "create_subprocess_exec", spy)
    task = asyncio.create_task(save.export(past, ("png",), tmp_path / "out"))
    while not begun:
        await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert begun[0].returncode is not None
