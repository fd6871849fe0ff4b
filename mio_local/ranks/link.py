"""Rank 0 asks and the others answer, over connections of the standard library that a key opens; and every rank hears in
time where another one is gone, however busy both are.

What passes is pickled by processes of one run for each other; who has not the run's key is not listened to.
"""

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from multiprocessing import AuthenticationError
from multiprocessing.connection import Client, Connection, Listener
from typing import Any

from mio_local.errors import BackendError, lacks_memory, one_line

BEAT = 2.0  # seconds between two signs of life
SILENT = 20.0  # seconds without one after which a rank is given up
LEFT = 5.0  # seconds that a rank has to end by itself once another one is gone
ASKS, BEATS = "asks", "beats"
ALIVE, WORDS = b".", 500  # a sign of life; characters of a failure that is told by one, at most


class RankLost(BackendError):
    """A rank died, or is silent."""


@dataclass
class Other:
    """Another rank, as rank 0 sees it."""

    rank: int
    host: str
    pid: int
    asks: Connection
    beats: Connection
    process: subprocess.Popen[bytes] | None = None  # where this process began it
    heard: float = field(default_factory=time.monotonic)
    asked: int = 0  # how often
    failed: tuple[int, float, str] = (0, 0.0, "")  # at which question, when that was heard, and why

    def hear(self, said: bytes) -> None:
        """A sign of life, which may say what failed."""
        self.heard = time.monotonic()
        if said != ALIVE:
            number, _, words = said.decode("utf-8", "replace").partition(" ")
            self.failed = int(number), self.heard, words

    @property
    def words(self) -> str:
        """What it is called in a message."""
        return f"rank {self.rank} (process {self.pid} on {self.host})"


class Link:
    """Rank 0's side."""

    def __init__(self, others: Sequence[Other]) -> None:
        self.others = {other.rank: other for other in others}
        self.questions = 0  # asked so far
        self.lost = ""  # the first rank that is gone, and how
        self._together = False  # whether the work done here now may wait for another rank's
        self._told = threading.Event()  # that it is known where the work is done
        self._closed = threading.Event()
        threading.Thread(target=self._watch, name="ranks", daemon=True).start()

    def exchange(
        self, asked: Mapping[int, Sequence[Any]], own: Callable[[], Any] | None = None, *, together: bool = False
    ) -> dict[int, Any]:  # fmt: skip
        """Let ranks do what they are asked, as (what, *given), and this one `own` meanwhile; by rank, what it gave.

        All are heard before a failure is raised, so that none answers a later question with an earlier one's. Where
        they wait for each other, `together`, what fails on one alone would keep the others waiting for ever: they have
        LEFT seconds to fail alike, and else that is the run's end. Raises RankLost; MemoryError and BackendError for
        what another rank raised.
        """
        self.questions += bool(asked)
        for rank, (what, *given) in asked.items():
            self._ask(rank, what, given)
        found, failures = dict[int, Any](), list[Exception]()
        works = {0: lambda: self._guarded(own)} if own else {}
        for rank, work in (works | {rank: partial(self._answer, rank) for rank in asked}).items():
            self._together = together and not rank
            try:
                found[rank] = work()
            except Exception as error:
                if isinstance(error, RankLost) or (together and not rank and not self._answered(asked)):
                    raise
                failures.append(error)
            finally:
                self._together = False
        if failures:
            raise failures[0]
        return found

    def _answered(self, ranks: Iterable[int]) -> bool:
        """Whether these answer within LEFT seconds, or are gone."""
        end = time.monotonic() + LEFT
        return all(self.others[rank].asks.poll(max(0.0, end - time.monotonic())) for rank in ranks)

    def _ask(self, rank: int, what: str, given: Sequence[Any]) -> None:
        self.others[rank].asked += 1
        try:
            self.others[rank].asks.send((what, given))
        except OSError as error:
            raise self._explained(error) from None

    def _answer(self, rank: int) -> Any:
        try:
            value, failure, memory = self.others[rank].asks.recv()
        except (OSError, EOFError) as error:
            raise self._explained(error) from None
        if failure:
            raise (MemoryError if memory else BackendError)(f"{self.others[rank].words}: {failure}")
        return value

    def _guarded(self, work: Callable[[], Any]) -> Any:
        """`work`, whose failure is explained by a rank that is gone, where one is."""
        try:
            return work()
        except Exception as error:
            if lacks_memory(error) or isinstance(error, BackendError):
                raise
            found = self._explained(error)
            raise (found if isinstance(found, RankLost) else error) from error

    def _explained(self, error: BaseException) -> BackendError:
        """The rank that is gone, which another thread may learn a moment later; else the error itself."""
        end = time.monotonic() + LEFT
        while not self.lost and time.monotonic() < end:
            time.sleep(0.02)
        self._told.set()
        return RankLost(self.lost) if self.lost else BackendError(one_line(error))

    def close(self) -> None:
        """Let the other ranks end."""
        self._closed.set()
        for other in self.others.values():
            for connection in (other.asks, other.beats):
                connection.close()
        for other in self.others.values():
            if other.process:
                try:
                    other.process.wait(LEFT)
                except subprocess.TimeoutExpired:
                    other.process.kill()

    def _watch(self) -> None:
        while not self._closed.wait(BEAT):
            for other in self.others.values():
                how = self._gone(other)
                if how and not self._closed.is_set():
                    self._give_up(f"{other.words} {how}")
                    return

    def _gone(self, other: Other) -> str:
        try:
            other.beats.send_bytes(ALIVE)
            while other.beats.poll():
                other.hear(other.beats.recv_bytes())
        except (OSError, EOFError):
            code = None
            if other.process:
                try:
                    code = other.process.wait(1)
                except subprocess.TimeoutExpired:
                    code = None
            return f"was ended by {signal.Signals(-code).name}" if code and code < 0 else "is gone"
        silent = time.monotonic() - other.heard
        number, when, words = other.failed
        if self._together and number == other.asked and time.monotonic() - when > LEFT:
            return f"failed: {words}"
        return f"gave no sign of life for {silent:.0f} s" if silent > SILENT else ""

    def _give_up(self, words: str) -> None:
        """Wake up whoever waits for it; where that does not help, end this process: nothing is half-written, as files
        are written beside their target."""
        self.lost = words
        for other in self.others.values():
            if other.process:
                other.process.kill()
            _shut(other.asks)
        if not self._told.wait(LEFT):
            end_process(f"{words}; go on from the last checkpoint with: mio-local resume")


def answering(
    address: tuple[str, int], key: bytes, rank: int, done: Callable[[str, Sequence[Any]], Any]
) -> None:  # fmt: skip
    """The other ranks' side: do what rank 0 asks by `done`, until it is through."""
    asks, beats = (_calling(address, key, kind, rank) for kind in (ASKS, BEATS))
    turn, number = threading.Lock(), 0
    threading.Thread(target=_beating, args=(beats, turn, rank), name="ranks", daemon=True).start()
    while True:
        try:
            what, given = asks.recv()
        except (OSError, EOFError):
            return
        number += 1
        try:
            reply = (done(what, given), "", False)
        except Exception as error:  # whatever it is, rank 0 tells it
            reply = (None, one_line(error) or type(error).__name__, lacks_memory(error))
        try:
            if reply[1]:  # rank 0 may wait for this one's part of a pass, and not for its answer
                with turn:
                    beats.send_bytes(f"{number} {reply[1][:WORDS]}".encode())
            asks.send(reply)
        except OSError:
            return


def _calling(address: tuple[str, int], key: bytes, kind: str, rank: int) -> Connection:
    connection: Any = Client(address, authkey=key)  # a pipe on Windows alone
    connection.send((kind, rank, socket.gethostname(), os.getpid()))
    return connection


def _beating(beats: Connection, turn: threading.Lock, rank: int) -> None:
    """Give signs of life, and end this process where rank 0 gives none."""
    heard = time.monotonic()
    while time.monotonic() - heard < SILENT:
        try:
            with turn:
                beats.send_bytes(ALIVE)
            if beats.poll(BEAT):
                beats.recv_bytes()
                heard = time.monotonic()
                time.sleep(BEAT / 2)
        except (OSError, EOFError):  # it is through, or dead: whoever waits for its status knows which
            os._exit(0)
    end_process(f"rank {rank}: rank 0 gave no sign of life for {SILENT:.0f} s, so this one ends")


def end_process(words: str) -> None:
    """Say why, and end: the main thread may wait in a library for what never comes."""
    print(f"mio-local: {words}", file=sys.stderr, flush=True)
    os._exit(2)


def gather(listener: Listener, count: int, started: Sequence[subprocess.Popen[bytes]], seconds: float) -> list[Other]:
    """Wait until `count` other ranks have called. Raises BackendError where one ended before that, or none calls."""
    found: dict[int, dict[str, tuple[Any, str, int]]] = {}

    def listen() -> None:
        while True:
            try:
                connection = listener.accept()
                kind, rank, host, pid = connection.recv()
            except (AuthenticationError, EOFError, ConnectionError):
                continue
            except OSError:  # closed
                return
            found.setdefault(rank, {})[kind] = (connection, host, pid)

    threading.Thread(target=listen, name="calls", daemon=True).start()
    end = time.monotonic() + seconds
    while sum(len(each) for each in list(found.values())) < 2 * count:
        if ended := next((one for one in started if one.poll() is not None), None):
            raise BackendError(f"a rank ended while it began (exit code {ended.returncode})")
        if time.monotonic() > end:
            raise BackendError(f"{count - len(found)} of {count} ranks did not call within {seconds:.0f} s")
        time.sleep(0.01)
    processes = {one.pid: one for one in started}
    return [
        Other(rank, each[ASKS][1], each[ASKS][2], each[ASKS][0], each[BEATS][0], processes.get(each[ASKS][2]))
        for rank, each in sorted(found.items())
    ]


def _shut(connection: Connection) -> None:
    """End a connection that another thread may be reading from."""
    try:
        with socket.socket(fileno=os.dup(connection.fileno())) as same:
            same.shutdown(socket.SHUT_RDWR)
    except OSError:
        pass
