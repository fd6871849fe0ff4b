"""The ranks of a run as threads of this process, by PyTorch: what each is fed can be seen here, and a step takes
milliseconds. The link's pipes, the followers and the model that asks them are a run's own."""

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from typing import Any, NamedTuple

import pytest

from mio_local.data.collate import Batch
from mio_local.ranks import leader
from mio_local.ranks.follower import Follower
from mio_local.ranks.link import Link, Other

LONG = 60  # seconds that a rank waits for another one's sum before the test fails


class Fed(NamedTuple):
    """What a rank's model was fed: `what` is accumulate, policy or reference."""

    rank: int
    what: str
    pairs: tuple[int, ...]


class Sums:
    """The collective of one rank: each waits for all, and adds up in the ranks' order."""

    def __init__(self, rank: int, barrier: threading.Barrier, given: list[Any]) -> None:
        self.rank, self.barrier, self.given = rank, barrier, given

    def sum(self, tensors: Sequence[Any]) -> None:
        self.given[self.rank] = [tensor.clone() for tensor in tensors]
        self.barrier.wait(LONG)
        for tensor, *parts in zip(tensors, *self.given, strict=True):
            tensor.copy_(sum(parts[1:], parts[0]))
        self.barrier.wait(LONG)


@contextmanager
def thread_ranks(patch: pytest.MonkeyPatch) -> Iterator[list[Fed]]:
    """While this lasts, a run on several devices has its ranks here; what their models are fed, as it comes."""
    found, links = list[Fed](), list[Link]()
    _seen(patch, found)
    patch.setattr(leader, "_led", {})
    patch.setattr(leader, "lead", lambda *given: _led(links, *given))
    try:
        yield found
    finally:
        for link in links:
            link.close()


def _led(links: list[Link], backend: Any, device: str, devices: int) -> tuple[Link, Sums, str]:
    barrier, given = threading.Barrier(devices), [None] * devices
    others = list[Other]()
    for rank in range(1, devices):
        (asks, asked), (beats, beaten) = Pipe(), Pipe()
        done = Follower(backend, Sums(rank, barrier, given), device).done  # type: ignore[arg-type]
        threading.Thread(target=_answer, args=(asked, done), name=f"rank {rank}", daemon=True).start()
        threading.Thread(target=_beat, args=(beaten,), daemon=True).start()
        others.append(Other(rank, "here", 0, asks, beats))
    links.append(Link(others))
    return links[-1], Sums(0, barrier, given), device


def _answer(asked: Connection, done: Any) -> None:
    """Another rank, till rank 0 hangs up."""
    while True:
        try:
            what, given = asked.recv()
        except (EOFError, OSError):
            return
        try:
            asked.send((done(what, given), "", False))
        except Exception as error:
            asked.send((None, repr(error), False))


def _beat(beaten: Connection) -> None:
    try:
        while beaten.recv_bytes():
            beaten.send_bytes(b".")
    except (EOFError, OSError):
        return


def _seen(patch: pytest.MonkeyPatch, found: list[Fed]) -> None:
    """Write down what every model is fed, and let one at a time compute: what transformers and we switch over while a
    model loads or computes belongs to the whole process."""
    pytest.importorskip("peft")
    from mio_cuda import CudaBackend
    from mio_cuda.model import CudaModel

    lock = threading.RLock()

    def told(what: str, batch: Batch) -> None:
        name = threading.current_thread().name
        found.append(Fed(int(name.removeprefix("rank ")) if name.startswith("rank ") else 0, what, batch.pairs))

    def accumulate(real: Any, model: Any, batch: Batch, *given: Any) -> Any:
        told("accumulate", batch)
        return real(model, batch, *given)

    def logps(real: Any, model: Any, batch: Batch, *, reference: bool) -> Any:
        told("reference" if reference else "policy", batch)
        return real(model, batch, reference=reference)

    def plain(real: Any, *given: Any, **more: Any) -> Any:
        return real(*given, **more)

    watched = {"accumulate": accumulate, "logps": logps}
    places = [(CudaBackend, "load"), *((CudaModel, name) for name in ("add_lora", "use", "generate", *watched))]
    for owner, name in places:
        patch.setattr(owner, name, _one_at_a_time(lock, watched.get(name, plain), getattr(owner, name)))


def _one_at_a_time(lock: Any, around: Any, real: Any) -> Any:
    def called(*given: Any, **more: Any) -> Any:
        with lock:
            return around(real, *given, **more)

    return called
