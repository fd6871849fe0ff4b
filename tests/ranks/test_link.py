"""What rank 0 asks the others: all are heard before a failure is raised."""

import threading
import time
from collections.abc import Iterator
from multiprocessing import Pipe

import pytest

from mio_local.errors import BackendError
from mio_local.ranks.link import Link, Other, RankLost


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


def test_what_fails_while_this_one_waits_for_it_is_the_runs_end(monkeypatch):
    """The other rank's answer comes after its failure was told with its signs of life: nobody reads it."""
    monkeypatch.setattr("mio_local.ranks.link.LEFT", 0.2)
    monkeypatch.setattr("mio_local.ranks.link.BEAT", 0.02)
    (here, there), (beats, far) = Pipe(), Pipe()
    link = Link([Other(1, "there", 1, here, beats)])

    def waits() -> None:  # as in a library, whose other end fails once that process is gone
        there.recv()
        far.send_bytes(b"1 too much")
        while not link.lost:
            time.sleep(0.01)
        raise RuntimeError("connection closed")

    with pytest.raises(RankLost, match=r"^rank 1 \(process 1 on there\) failed: too much$"):
        link.exchange({1: ("give", 1)}, waits, together=True)


def test_what_fails_alike_on_all_that_wait_for_each_other_is_no_end(link, monkeypatch):
    monkeypatch.setattr("mio_local.ranks.link.LEFT", 0.5)
    with pytest.raises(ZeroDivisionError):
        link.exchange({1: ("other", "of its own")}, fails, together=True)
    assert link.exchange({1: ("give", 2)}, lambda: 1, together=True) == {0: 1, 1: 2}
