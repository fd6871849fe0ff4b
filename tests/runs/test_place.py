"""Which one in line a run is, where it is told: the list, `show`, `watch`."""

from contextlib import ExitStack
from pathlib import Path

import pytest

from mio_local import cli
from mio_local.runs.index import Index
from mio_local.runs.queue import place_of
from mio_local.runs.summary import in_line
from tests.helpers import fakes


@pytest.mark.parametrize(
    ("place", "words"),
    [(0, "after"), (1, "1st in line, after"), (2, "2nd in line, after"), (3, "3rd in line, after"),
     (4, "4th in line, after"), (11, "11th in line, after"), (22, "22nd in line, after"),
     (113, "113th in line, after")],
)  # fmt: skip
def test_places_in_words(place: int, words: str) -> None:
    assert in_line(place, "mio") == f"{words} mio"


def test_a_line_is_counted_from_what_trains(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with ExitStack() as held:
        runs = [held.enter_context(fakes.alive(fakes.make_run(tmp_path, "mio-1", "training")))]
        for number in (2, 3):
            run = fakes.make_run(tmp_path, f"mio-{number}", "queued", 0, after=f"mio-{number - 1}", since=float(number))
            runs.append(held.enter_context(fakes.alive(run)))
        away = fakes.make_run(tmp_path, "left", "queued", 0, after="mio-1", since=9.0)
        assert [place_of(run) for run in (*runs, away)] == [0, 1, 2, 0]
        notes = {row.name: row.note for row in Index(tmp_path).read()}
        assert notes == {
            "mio-1": "", "mio-2": "1st in line, after mio-1", "mio-3": "2nd in line, after mio-2",
            "left": "nobody starts it",
        }  # fmt: skip
        assert cli.run(["runs", "--runs", str(tmp_path)]) == 0
        assert "2nd in line, after mio-2" in capsys.readouterr().out
        assert cli.run(["show", "mio-3", "--runs", str(tmp_path)]) == 0
        assert "  2nd in line, after mio-2\n" in capsys.readouterr().out
    with fakes.alive(runs[2]):  # the others are over
        fakes.set_status(runs[1], state="done")
        assert place_of(runs[2]) == 1


def test_runs_that_wait_for_one_another_are_counted_once(tmp_path: Path) -> None:
    with ExitStack() as held:
        for name, after in (("a", "b"), ("b", "a")):
            held.enter_context(fakes.alive(fakes.make_run(tmp_path, name, "queued", 0, after=after)))
        assert {row.note for row in Index(tmp_path).read()} == {"2nd in line, after b", "2nd in line, after a"}
