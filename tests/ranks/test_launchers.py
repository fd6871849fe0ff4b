"""torchrun and mlx.launch start the ranks as people expect; what does not fit is one line."""

import os
import sys

import pytest

from mio_local.errors import BackendError
from mio_local.launched.launchers import launcher, place_of
from mio_local.ranks import joining
from mio_local.ranks.joining import with_ranks
from mio_local.recipe import build

TORCHRUN = {"RANK": "1", "WORLD_SIZE": "4", "LOCAL_RANK": "1", "LOCAL_WORLD_SIZE": "2", "MASTER_ADDR": "10.0.0.1"}


def test_what_torchrun_says_is_read(monkeypatch):
    for key, value in TORCHRUN.items():
        monkeypatch.setenv(key, value)
    place = place_of(launcher())
    assert (place.rank, place.size, place.local, place.local_size, place.address) == (1, 4, 1, 2, "10.0.0.1")
    recipe = with_ranks(build({}, "test"))
    assert (recipe.backend.name, recipe.backend.devices) == ("cuda", 4)


def test_what_mlx_launch_says_is_read(monkeypatch, tmp_path):
    hosts = tmp_path / "hosts.json"
    hosts.write_text('[["10.0.0.1:5000"], ["10.0.0.2:5000"], ["10.0.0.2:5001"]]')
    monkeypatch.setenv("MLX_RANK", "2")
    monkeypatch.setenv("MLX_HOSTFILE", str(hosts))
    place = place_of(launcher())
    assert (place.rank, place.size, place.local, place.local_size, place.address) == (2, 3, 1, 2, "10.0.0.1")


@pytest.mark.parametrize(("given", "told"), [
    ({"devices": 3}, ["--devices 3", "WORLD_SIZE says 4"]), ({"name": "mlx"}, ["--backend mlx", "mlx.launch"]),
])  # fmt: skip
def test_what_does_not_agree_is_named(monkeypatch, given, told):
    for key, value in TORCHRUN.items():
        monkeypatch.setenv(key, value)
    with pytest.raises(BackendError) as raised:
        with_ranks(build({"backend": given}, "test"))
    assert all(word in str(raised.value) for word in told)


def test_half_of_a_launcher_is_named(monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(BackendError, match="does not say which rank"):
        place_of(launcher())


def test_machines_are_given_to_mlx_launch(monkeypatch, tmp_path):
    called = []
    monkeypatch.setattr(os, "execv", lambda *given: called.append(given))
    hosts = tmp_path / "hosts.json"
    hosts.write_text("[]")
    monkeypatch.setattr(sys, "argv", ["/there/mio-local", "train", "--hosts", str(hosts), "--loss", "mio"])
    joining._launch(hosts)
    (found, words), = called
    assert found.endswith("mlx.launch")
    assert words[1:] == ["--hostfile", str(hosts), "--", *sys.argv]
    with pytest.raises(BackendError, match=r"no such file; mlx\.distributed_config"):
        joining._launch(tmp_path / "none")
