"""Thousands of runs are listed soon, whatever their names."""

import shutil
import time
from pathlib import Path

import pytest

from mio_local import cli
from mio_local.text import visible
from tests.helpers import fakes

RUNS = 2000


@pytest.mark.slow
def test_every_run_is_listed_in_columns_soon(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """5,000 took 9.4 s, most of it for the layout of a table; under 2 s now, of which reading them is 0.5."""
    one = fakes.make_run(tmp_path, "日本", steps=3)
    for number in range(RUNS - 1):
        shutil.copytree(one.path, tmp_path / f"r{number}")
    began = time.process_time()
    assert cli.run(["runs", "--runs", str(tmp_path)]) == 0
    assert time.process_time() - began < 4
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2 + RUNS + 2
    places = {line.index("mio") for line in lines[2 : 2 + RUNS] if "日本" not in line}
    assert len(places) == 1
    assert next(line for line in lines if "日本" in line).index("mio") == places.pop() - 2  # two of its signs are wide


def test_a_text_without_control_characters_is_left_alone() -> None:
    assert visible("日本 é") == "日本 é"
    assert visible("a\x1b[0m\n") == "a\\u{1b}[0m⏎"
