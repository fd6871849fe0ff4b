"""What the ranks of a run do together, by the array library's own collectives; and which of them a process is."""

from dataclasses import dataclass
from typing import Protocol

ANNOUNCED = 512  # bytes that rank 0 can announce, at most


@dataclass(frozen=True)
class Place:
    """Which of `size` ranks a process is, and which of the `local_size` on its machine. `address`: rank 0's machine."""

    rank: int
    size: int
    local: int
    local_size: int
    address: str = "127.0.0.1"


class Collective(Protocol):
    """All ranks call the same methods in the same order. Models sum their gradients by the backend's own."""

    def announce(self, words: bytes) -> bytes:
        """What rank 0 says, on every rank: ANNOUNCED bytes at most."""
        ...

    def sum_seconds(self, count: int) -> float:
        """Seconds that a sum of `count` float32 numbers over the ranks takes: the median of several."""
        ...
