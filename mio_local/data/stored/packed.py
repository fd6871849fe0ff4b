"""Pairs in one stretch of bytes: a million of them take what their text takes."""

from array import array
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
from pydantic_core import from_json, to_json

from mio_local.data.stored.on_demand import OnDemand
from mio_local.data.stored.preference_pair import Pair


class Packed(OnDemand[Pair]):
    """Pairs as JSON, one after the other in `blob`; number i ends at `ends[i]`."""

    def __init__(self, blob: bytes | bytearray | memoryview, ends: np.ndarray) -> None:
        self.blob, self.ends = memoryview(blob), ends

    def __len__(self) -> int:
        return len(self.ends)

    def item(self, place: int) -> Pair:
        start = int(self.ends[place - 1]) if place else 0
        return _unpacked(bytes(self.blob[start : int(self.ends[place])]))

    def part(self, start: int, stop: int) -> tuple[bytes, np.ndarray]:
        """Blob and ends of the pairs in these places."""
        before = int(self.ends[start - 1]) if start else 0
        ends = self.ends[start:stop]
        return bytes(self.blob[before : int(ends[-1])]), ends - before

    def __iter__(self) -> Iterator[Pair]:
        start = 0
        for end in self.ends.tolist():
            yield _unpacked(bytes(self.blob[start:end]))
            start = end


class Packing:
    """Pairs as they come."""

    def __init__(self) -> None:
        self._blob, self._ends = bytearray(), array("q")

    def __len__(self) -> int:
        return len(self._ends)

    def add(self, pair: Pair) -> None:
        values: list[Any] = [pair.prompt, pair.chosen, pair.rejected, pair.where, pair.tools]
        if pair.others or pair.rewards or pair.sampled:
            values += [pair.others, pair.rewards, pair.sampled]
        self._blob += to_json(values)
        self._ends.append(len(self._blob))

    def packed(self, most: int = 0) -> Packed:
        """The pairs, or the first `most` of them."""
        return Packed(self._blob, np.frombuffer(self._ends, np.int64)[: most or None])


def _unpacked(text: bytes) -> Pair:
    prompt, chosen, rejected, where, tools, *more = from_json(text)
    if not more:
        return Pair(prompt, chosen, rejected, where, tools)
    others, rewards, sampled = more
    return Pair(prompt, chosen, rejected, where, tools, tuple(others), tuple(rewards), sampled)


def packed(pairs: Iterable[Pair]) -> Packed:
    """The pairs in one stretch of bytes."""
    packing = Packing()
    for pair in pairs:
        packing.add(pair)
    return packing.packed()
