"""What every judge has: a count of the answers that got no reward, and no pairs of its own."""

import threading
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from typing import Any, TypeVar

from mio_local.data.messages import Answer
from mio_local.errors import MioError
from mio_local.making.answered import FIRST, Answered, Rewards
from mio_local.text import visible_line

T = TypeVar("T")
CLOSED = "the judge is closed"
LONGEST_REASON = 200  # characters of a reason's first message


class Unjudged(dict[str, int]):
    """How many answers got no reward, by reason: `raised (the first: ValueError: no number)`."""

    def __init__(self) -> None:
        super().__init__()
        self._keys: dict[str, str] = {}

    def add(self, reason: str, first: str = "", count: int = 1) -> None:
        """Count a reason; of its messages the first alone is kept."""
        shown = f"{reason}{FIRST}{visible_line(first, LONGEST_REASON)})" if first else reason
        key = self._keys.setdefault(reason, shown)
        self[key] = self.get(key, 0) + count

    def clear(self) -> None:
        """Begin anew, the messages too."""
        super().clear()
        self._keys.clear()


class Closable:
    """Work on several threads that another thread may end: who waits for it then gets a MioError."""

    def __init__(self, threads: int, name: str) -> None:
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix=name)
        self._lock, self._closed = threading.Lock(), False

    def begin(self, work: Callable[..., T], *arguments: Any) -> "Future[T]":
        """Begin something. Raises MioError once this is closed."""
        with self._lock:
            if self._closed:
                raise MioError(CLOSED)
            return self._pool.submit(work, *arguments)

    @staticmethod
    def result(coming: "Future[T]") -> T:
        """What came of it. Raises what that raised, and MioError where it was not begun any more."""
        try:
            return coming.result()
        except CancelledError:
            raise MioError(CLOSED) from None

    def close(self) -> None:
        """Begin no more, and wait for what runs."""
        with self._lock:
            self._closed = True
        self._pool.shutdown(cancel_futures=True)


class PlainJudge:
    """A judge of single answers; see `Judge`."""

    kind = "answers"

    def __init__(self, name: str, threshold: float | None) -> None:
        self.name, self.threshold = name, threshold
        self.unjudged: dict[str, int] = Unjudged()
        self.dropped: Counter[str] = Counter()

    def skip(self, reason: str, first: str = "", count: int = 1) -> None:
        """Count answers without a reward."""
        assert isinstance(self.unjudged, Unjudged)
        self.unjudged.add(reason, first, count)

    def pairs(self, answered: Sequence[Answered], rewards: Sequence[Rewards]) -> list[list[tuple[Answer, Answer]]]:
        """None: they are made of the rewards."""
        return [[] for _ in answered]

    def close(self) -> None:
        """Nothing is open."""
