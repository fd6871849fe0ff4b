"""A reference is named by content: of the model, of the adapter, and of all else that changes its numbers."""

import hashlib
import json
import os
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mio_local.adapters.adapter import SavedAdapter
from mio_local.errors import ModelError, RunError
from mio_local.training import fingerprint as naming
from mio_local.training.fingerprint import cache_folder, fingerprint, weights_digest

SETTINGS = {"backend": "mlx", "device": "cpu"}


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The cache folder, not there yet."""
    monkeypatch.setenv("MIO_LOCAL_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A folder that looks like a model's."""
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "config.json").write_text('{"model_type": "llama"}')
    for part in (1, 2):
        (folder / f"model-{part}.safetensors").write_bytes(bytes([part]) * 100)
    return folder


def adapter(folder: Path = Path("a"), **other: Any) -> SavedAdapter:
    weights = {"x.lora_A": np.ones((2, 3), np.float32), "x.lora_B": np.ones((3, 2), np.float32)}
    return replace(SavedAdapter(folder, weights, 2, 4.0, False), **other)


def test_cache_folder(monkeypatch: pytest.MonkeyPatch, cache: Path) -> None:
    assert cache_folder() == cache
    monkeypatch.setenv("MIO_LOCAL_CACHE", "~nobody-of-that-name/x")
    with pytest.raises(RunError, match="MIO_LOCAL_CACHE"):
        cache_folder()
    monkeypatch.delenv("MIO_LOCAL_CACHE")
    assert cache_folder().name == "mio-local"


def test_fingerprint_is_of_content(model: Path, tmp_path: Path) -> None:
    named = fingerprint(model, None, SETTINGS)
    assert naming.DIGEST.fullmatch(named)
    copied = shutil.copytree(model, tmp_path / "elsewhere")
    (copied / "README.md").write_text("not read")
    assert fingerprint(copied, None, dict(reversed(SETTINGS.items()))) == named
    continued = fingerprint(model, adapter(), SETTINGS)
    assert fingerprint(model, adapter(Path("b")), SETTINGS) == continued
    names = {named, continued, fingerprint(model, None, {**SETTINGS, "device": "gpu"})}
    weights = adapter().weights
    turned = {**weights, "x.lora_A": np.ones((3, 2), np.float32)}
    moved = {**weights, "x.lora_B": np.float32([[1, 1], [1, 1], [1, 1.0001]])}
    renamed = {name.replace("x", "y"): weight for name, weight in weights.items()}
    terms = [{"rslora": True}, {"alpha_pattern": {"x": 8.0}}, {"rank_pattern": {"x": 4}}]
    terms += [{"rank": 1}, {"alpha": 8.0}, {"dora": True}]
    others = [*terms, *({"weights": new} for new in (turned, moved, renamed))]
    names |= {fingerprint(model, adapter(**other), SETTINGS) for other in others}
    for file in ("config.json", "model-2.safetensors", "modeling.py"):
        with (model / file).open("ab") as opened:
            opened.write(b" ")
        names.add(fingerprint(model, None, SETTINGS))
    assert len(names) == 3 + len(others) + 3


def test_fingerprint_of_a_snapshot_takes_the_names_of_the_blobs(model: Path, tmp_path: Path) -> None:
    snapshot, blobs = tmp_path / "hub" / "snapshots" / "c0ffee", tmp_path / "hub" / "blobs"
    snapshot.mkdir(parents=True)
    blobs.mkdir()
    for file in model.iterdir():
        digest = hashlib.sha256(file.read_bytes()).hexdigest()
        blob = blobs / (digest if file.suffix == ".safetensors" else digest[:40])
        shutil.copy(file, blob)
        (snapshot / file.name).symlink_to(f"../../blobs/{blob.name}")
    heard: list[tuple[str, int, int]] = []
    assert fingerprint(snapshot, None, {}, lambda *told: heard.append(told)) == fingerprint(model, None, {})
    size = (model / "config.json").stat().st_size  # its blob has git's name, which is no sha256
    assert [told[1:] for told in heard] == [(size, size)]


def test_large_files_are_read_once(model: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(naming, "SETTLED", 0)
    monkeypatch.setattr(naming, "BIG", 50)
    monkeypatch.setattr(naming, "PART", 64)
    heard: list[int] = []

    def named() -> tuple[str, list[int]]:
        heard.clear()
        return fingerprint(model, None, {}, lambda what, done, total: heard.extend((done, total))), heard[:]

    small = (model / "config.json").stat().st_size
    total = small + 200
    name, told = named()
    assert told[::2] == [small, small + 64, small + 100, small + 164, total]
    assert set(told[1::2]) == {total}
    assert named() == (name, [small, small])
    file = model / "model-1.safetensors"
    before = file.stat()
    file.write_bytes(b"9" * 100)
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))  # as old and as large as before
    assert named()[0] != name
    assert json.loads((cache / "digests.json").read_text()).keys() - {"digest"} == {
        str(each) for each in model.glob("*.safetensors")
    }


def test_file_that_just_changed_is_not_remembered(model: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(naming, "BIG", 1)
    fingerprint(model, None, {})
    assert not (cache / "digests.json").exists()


@pytest.mark.parametrize("text", ["", "[]", "{", "[" * 100_000, "\udcff", "null", "MEANT"])
def test_damaged_memo_costs_time_alone(model: Path, cache: Path, monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    name = fingerprint(model, None, {})
    monkeypatch.setattr(naming, "SETTLED", 0)
    monkeypatch.setattr(naming, "BIG", 1)
    paths = [str(file) for file in model.iterdir()]
    meant = json.dumps(dict(zip(paths, (7, [], [1, 2, 3, "x"]), strict=True)))
    cache.mkdir(exist_ok=True)
    (cache / "digests.json").write_text(meant if text == "MEANT" else text, encoding="utf-8", errors="surrogateescape")
    assert fingerprint(model, None, {}) == name
    known = json.loads((cache / "digests.json").read_text())
    assert len(known) == 4
    first = min(known.keys() - {"digest"})
    known[first][-1] = "0" * 64  # as good a digest as another
    (cache / "digests.json").write_text(json.dumps(known))
    monkeypatch.setattr(naming, "_READ", {})
    assert fingerprint(model, None, {}) == name
    shutil.rmtree(cache)
    cache.touch()  # nor can it be written now
    assert fingerprint(model, None, {}) == name


def test_fingerprint_names_what_is_wrong(model: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no weights"):
        fingerprint(tmp_path / "nothing", None, {})
    (model / "model-3.safetensors").symlink_to("nowhere")
    with pytest.raises(ModelError, match="nowhere: cannot be read"):
        fingerprint(model, None, {})


def test_without_a_cache_folder_big_files_are_read_once(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By one process: a start needs the digest of the weights for the reference and for the run."""
    monkeypatch.setenv("MIO_LOCAL_CACHE", str(model / "config.json" / "below-a-file"))
    big = model / "model-1.safetensors"
    big.write_bytes(b"1" * (2 << 20))
    os.utime(big, ns=(1, 1))
    monkeypatch.setattr("mio_local.training.fingerprint.SETTLED", 0)
    read: list[int] = []
    for _ in range(2):
        weights_digest(model, lambda what, done, total: read.append(total))
    assert read == [(2 << 20) + 100] * 2 + [100]
