"""Bring the ranks of a run together: begin them here, or find those that a launcher began."""

import os
import secrets
import signal
import socket
import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager
from multiprocessing.connection import Listener
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from mio_local.backends import Backend
from mio_local.launched.launchers import launcher, place_of
from mio_local.launched.rank_place import Collective, Place
from mio_local.process import cores, share_threads, trust_handed_on
from mio_local.ranks.follower import Follower
from mio_local.ranks.link import Link, answering, gather

PATIENCE = 300.0  # seconds until all ranks have called: the libraries' import, on a slow disk


def lead(backend: Backend, device: str, devices: int) -> tuple[Link, Collective, str]:
    """As rank 0: the other ranks, ready to be asked, and this one's device. Raises BackendError."""
    if name := launcher():
        place = place_of(name)
        return _led(backend, device, place, [])
    place = Place(0, devices, 0, devices)
    with TemporaryDirectory(prefix="mio-local-ranks-") as folder, _alone(place, Path(folder)) as variables:
        started = [_begun(backend.name, device, variables(rank)) for rank in range(1, devices)]
        try:
            return _led(backend, device, place, started)
        except BaseException:
            for process in started:
                process.kill()
            raise


def _led(
    backend: Backend, device: str, place: Place, started: list[subprocess.Popen[bytes]]
) -> tuple[Link, Collective, str]:  # fmt: skip
    take_cores(backend.probe(device).kind, place)
    collective, own = backend.join(place, device)
    key = secrets.token_bytes(16)
    with _listening(place, key) as listener:
        host, port = place.address or socket.gethostname(), listener.address[1]
        collective.announce(f"{host} {port} {key.hex()}".encode())
        return Link(gather(listener, place.size - 1, started, PATIENCE)), collective, own


def follow(backend: Backend, device: str, place: Place) -> None:
    """As another rank: do what rank 0 asks for, until it is through."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):  # rank 0 hears them, and finishes its step
        signal.signal(number, signal.SIG_IGN)
    take_cores(backend.probe(device).kind, place)
    collective, own = backend.join(place, device)
    host, port, key = collective.announce(b"").decode().split()
    answering((host, int(port)), bytes.fromhex(key), place.rank, Follower(backend, collective, own).done)


def take_cores(kind: str, place: Place) -> None:
    """On a CPU, leave the other ranks of this machine theirs."""
    if kind == "cpu" and place.local_size > 1 and hasattr(os, "sched_setaffinity") and cores() >= place.local_size:
        own = sorted(os.sched_getaffinity(0))
        first, last = (len(own) * part // place.local_size for part in (place.local, place.local + 1))
        os.sched_setaffinity(0, own[first:last])
        share_threads(1)


def _listening(place: Place, key: bytes) -> Listener:
    """Where the other ranks call: at the address that they know, or, where it is no interface's own, at all."""
    try:
        return Listener((place.address, 0), "AF_INET", backlog=2 * place.size, authkey=key)
    except OSError:
        return Listener(("", 0), "AF_INET", backlog=2 * place.size, authkey=key)


@contextmanager
def _alone(place: Place, folder: Path) -> Generator[Any]:
    """The variables by which both libraries find each other on this machine, set for rank 0 and given for the rest."""
    ports = [_free_port() for _ in range(place.size)]
    hosts = folder / "hosts.json"
    hosts.write_text("[" + ", ".join(f'["127.0.0.1:{port}"]' for port in ports) + "]", encoding="utf-8")

    def variables(rank: int) -> dict[str, str]:
        return {
            "RANK": str(rank), "WORLD_SIZE": str(place.size), "LOCAL_RANK": str(rank),
            "LOCAL_WORLD_SIZE": str(place.size), "MASTER_ADDR": place.address, "MASTER_PORT": str(ports[0]),
            "MLX_RANK": str(rank), "MLX_HOSTFILE": str(hosts),
            "GLOO_SOCKET_IFNAME": "lo0" if sys.platform == "darwin" else "lo",
        }  # fmt: skip

    before = {key: os.environ.get(key) for key in variables(0)}
    os.environ.update(variables(0))
    try:
        yield variables
    finally:
        for key, value in before.items():
            os.environ.pop(key, None)
            if value is not None:
                os.environ[key] = value


def _free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def _begun(backend: str, device: str, variables: dict[str, str]) -> subprocess.Popen[bytes]:
    words = [sys.executable, "-P", "-m", "mio_local.ranks.rank_process", backend, device, *trust_handed_on()]
    return subprocess.Popen(words, stdin=subprocess.DEVNULL, env=os.environ | variables)
