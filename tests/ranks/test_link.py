"""What rank 0 asks the others: all are heard before a failure is raised."""

import threading
from collections.abc import Iterator
from multiprocessing import Pipe

import pytest

from mio_local.errors import BackendError
from mio_local.ranks.link import Link, Other


@pytest.fixture
def link() -> Iterator[Link]:
    """Rank 0 and one other, which gives what it is asked for, or fails where that is a failure."""
    here, there = Pipe()
    beats, _far = Pipe()

    def answer() -> None:
        try:
            while True:
                what, (value,) = there.recv()
                there.send((None, value, what == "memory") if what != "give" else (value, "", False))
        except (EOFError, OSError):
            return

    thread = threading.Thread(target=answer)
    thread.start()
    found = Link([Other(1, "there", 1, here, beats)])
    yield found
    found.close()
    thread.join()


def fails() -> None:
    raise ZeroDivisionError("of its own")


def test_the_next_question_meets_no_late_answer(link, monkeypatch):
    monkeypatch.setattr("mio_local.ranks.link.LEFT", 0.1)  # how long it is asked whether another rank is gone
    with pytest.raises(ZeroDivisionError):
        link.exchange({1: ("give", "late")}, fails)
    assert link.exchange({1: ("give", "soon")}, lambda: "own") == {0: "own", 1: "soon"}


@pytest.mark.parametrize(("what", "kind"), [("memory", MemoryError), ("other", BackendError)])
def test_what_fails_elsewhere_says_where(link, what, kind):
    with pytest.raises(kind, match=r"^rank 1 \(process 1 on there\): too much$"):
        link.exchange({1: (what, "too much")}, lambda: "own")
    assert link.exchange({1: ("give", 2)}) == {1: 2}
