"""A model's download is watched, cut, killed and resumed: the real client against a hub on this machine."""

import json
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from safetensors.numpy import load_file, save_file

from tests.helpers.hub_server import Fault, HubStand, digest_of, gated, limited, page
from tests.helpers.some import first

NAME = "org/name"
COMMAND = [sys.executable, "-m", "mio_local.models.download", NAME]
SHARDS = ("model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors")


@pytest.fixture(scope="module")
def served(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny model in two files of weights, with a pickle that nobody may fetch."""
    folder = shutil.copytree(tiny_model, tmp_path_factory.mktemp("hub") / "model")
    tensors = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    (folder / "pytorch_model.bin").write_bytes(b"a pickle")
    place = {name: SHARDS[number % 2] for number, name in enumerate(sorted(tensors))}
    for shard in SHARDS:
        save_file({name: tensors[name] for name in tensors if place[name] == shard}, folder / shard, {"format": "pt"})
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": place}), encoding="utf-8")
    return folder


@pytest.fixture
def hub(served: Path) -> Iterator[HubStand]:
    with HubStand(models={NAME: served}) as stand:
        yield stand


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


def download(hub: HubStand, home: Path, first: str = "", **environment: str) -> list[dict[str, Any]]:
    """Run the download to its end, after the statements `first`; the lines that it printed."""
    code = f"import sys\nfrom mio_local.models import download\n{first}\nsys.exit(download.main([{NAME!r}]))"
    variables = hub.environment(home) | environment
    ended = subprocess.run([sys.executable, "-c", code], env=variables, capture_output=True, text=True, timeout=60)
    lines = [json.loads(line) for line in ended.stdout.splitlines()]
    assert ended.returncode == (2 if "error" in lines[-1] else 0), ended.stderr
    assert ended.stderr == ""
    return lines


def wanted(served: Path) -> dict[str, bytes]:
    """The files that a download takes, and what is in them."""
    return {file.name: file.read_bytes() for file in served.iterdir() if file.suffix != ".bin"}


def assert_same(lines: list[dict[str, Any]], served: Path) -> None:
    folder = Path(lines[-1]["folder"])
    assert {file.name: file.read_bytes() for file in folder.iterdir()} == wanted(served)


def test_download_is_reported_and_found_by_the_trainer_without_a_network(
    hub: HubStand, home: Path, served: Path
) -> None:
    hub.pace = 100_000
    began = time.monotonic()
    lines = download(hub, home)
    seconds = time.monotonic() - began
    assert_same(lines, served)
    total = sum(map(len, wanted(served).values()))
    reports = lines[:-1]
    assert {report["total"] for report in reports} == {total}
    assert [report["done"] for report in reports] == sorted(report["done"] for report in reports)
    assert reports[-1] == {"done": total, "total": total, "file": ""}
    assert {report["file"] for report in reports} == {*SHARDS, ""}
    assert 3 < len(reports) <= seconds * 5 + 2
    code = f"""from mio_local.models.locate import model_folder
from mio_local.recipe import ModelSettings
print(model_folder(ModelSettings(name={NAME!r})))"""
    environment = hub.environment(home) | {"HF_HUB_OFFLINE": "1"}
    found = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=60)
    assert found.stdout.strip() == lines[-1]["folder"], found.stderr
    assert not [asked for asked in hub.requests if asked.path.endswith(".bin")]


@pytest.mark.parametrize("reset", [False, True], ids=["closed", "reset"])
def test_connection_that_breaks_is_resumed_where_it_broke(
    hub: HubStand, home: Path, served: Path, reset: bool
) -> None:
    hub.cut_after, hub.reset, hub.cuts = 20_000, reset, 3
    lines = download(hub, home)
    assert_same(lines, served)
    asked = hub.weights_sent()
    assert [one.range for one in asked[:4]] == ["", "bytes=20000-", "bytes=40000-", "bytes=60000-"]
    assert sum(one.sent for one in asked) == sum((served / shard).stat().st_size for shard in SHARDS)


@pytest.mark.slow
def test_killed_download_goes_on_where_it_was(hub: HubStand, home: Path, served: Path) -> None:
    hub.pace = 60_000
    first = (served / SHARDS[0]).stat().st_size
    with subprocess.Popen(COMMAND, env=hub.environment(home), stdout=subprocess.PIPE, text=True) as killed:
        assert killed.stdout
        report = next(report for report in map(json.loads, killed.stdout) if report["file"] == SHARDS[1])
        while report["done"] < report["total"] - (served / SHARDS[1]).stat().st_size // 2:
            report = json.loads(killed.stdout.readline())
        killed.kill()
    digests = [digest_of(served / shard)[0] for shard in SHARDS]
    blobs = home / "hub" / "models--org--name" / "blobs"
    kept = (blobs / f"{digests[1]}.incomplete").stat().st_size
    assert report["done"] <= kept + report["total"] - (served / SHARDS[1]).stat().st_size
    assert (blobs / digests[0]).stat().st_size == first
    assert listed(hub, home) == [[NAME, False]]

    hub.requests.clear()
    hub.pace = 0
    assert_same(download(hub, home), served)
    (asked,) = hub.weights_sent()
    assert asked.path.endswith(digests[1])
    assert asked.range == f"bytes={kept}-"
    assert asked.sent == (served / SHARDS[1]).stat().st_size - kept
    assert listed(hub, home) == [[NAME, True]]


def listed(hub: HubStand, home: Path) -> list[list[Any]]:
    """Name and completeness of the models on disk, as another process sees them."""
    code = "import json\nfrom mio_local.models.hub import on_disk\n"
    code += "print(json.dumps([[card.name, card.complete] for card in on_disk()]))"
    ended = subprocess.run([sys.executable, "-c", code], env=hub.environment(home), capture_output=True, text=True)
    return json.loads(ended.stdout)


@pytest.mark.slow
def test_branch_that_moves_meanwhile_is_fetched_as_it_was(
    hub: HubStand, home: Path, served: Path, tmp_path: Path
) -> None:
    moved = shutil.copytree(served, tmp_path / "moved")
    save_file(load_file(served / SHARDS[0]), moved / SHARDS[0], {"format": "pt", "commit": "2"})
    hub.pace = 100_000
    with subprocess.Popen(COMMAND, env=hub.environment(home), stdout=subprocess.PIPE, text=True) as one:
        assert one.stdout
        lines = [json.loads(one.stdout.readline())]
        hub.move(NAME, moved)
        lines += map(json.loads, one.stdout)
    assert_same(lines, served)
    assert sum(asked.sent for asked in hub.weights_sent()) == sum((served / shard).stat().st_size for shard in SHARDS)
    repository = Path(lines[-1]["folder"]).parents[1]
    assert (repository / "refs" / "main").read_text() == Path(lines[-1]["folder"]).name
    code = f"""from huggingface_hub import snapshot_download
print(snapshot_download({NAME!r}, local_files_only=True, allow_patterns=["*.json", "*.safetensors"]))"""
    found = subprocess.run([sys.executable, "-c", code], env=hub.environment(home), capture_output=True, text=True)
    assert found.stdout.strip() == lines[-1]["folder"], found.stderr
    hub.pace = 0
    assert_same(download(hub, home), moved)


def test_parts_of_weights_that_are_gone_are_deleted_at_the_end(hub: HubStand, home: Path, served: Path) -> None:
    stale = part_of(home, served / SHARDS[0]).with_name(f"{'c' * 64}.incomplete")
    stale.write_bytes(b"x" * 9_000_000)
    assert_same(download(hub, home), served)
    assert not stale.exists()


def test_hub_that_ignores_ranges_sends_the_file_again(hub: HubStand, home: Path, served: Path) -> None:
    hub.cut_after, hub.ranges = 20_000, False
    assert_same(download(hub, home), served)
    assert [one.status for one in hub.weights_sent()] == [200, 200, 200]


@pytest.mark.slow
def test_connection_that_keeps_breaking_keeps_the_part(hub: HubStand, home: Path, served: Path) -> None:
    part = part_of(home, served / SHARDS[0])
    part.write_bytes((served / SHARDS[0]).read_bytes()[:30_000])
    hub.cut_after, hub.cuts = 0, 99
    line = download(hub, home, "download.LONGEST_PAUSE = 0.01")[-1]["error"]
    assert NAME in line
    assert "kept: run the same again" in line
    assert [one.range for one in hub.weights_sent()] == ["bytes=30000-"] * 6
    hub.cuts = 0
    assert_same(download(hub, home), served)
    assert hub.weights_sent()[6].range == "bytes=30000-"


def part_of(home: Path, file: Path) -> Path:
    """Where what has arrived of a file is kept, its folder made."""
    part = home / "hub" / "models--org--name" / "blobs" / f"{digest_of(file)[0]}.incomplete"
    part.parent.mkdir(parents=True, exist_ok=True)
    return part


@pytest.mark.slow
def test_damaged_part_is_found_by_its_hash(hub: HubStand, home: Path, served: Path) -> None:
    part = part_of(home, served / SHARDS[0])
    part.write_bytes(b"x" * 30_000)
    line = download(hub, home)[-1]["error"]
    assert SHARDS[0] in line
    assert "damaged" in line
    assert not part.exists()
    assert_same(download(hub, home), served)


def test_full_disk_is_named_before_the_download(hub: HubStand, home: Path) -> None:
    (line,) = download(hub, home, "import types; download.shutil.disk_usage = lambda _: types.SimpleNamespace(free=9)")
    assert "0.0 GB free" in line["error"]
    assert "HF_HOME" in line["error"]
    assert hub.weights_sent() == []


@pytest.mark.slow
def test_second_download_of_the_same_model_is_refused(hub: HubStand, home: Path) -> None:
    hub.pace = 5_000
    with subprocess.Popen(COMMAND, env=hub.environment(home), stdout=subprocess.PIPE) as first:
        assert first.stdout
        first.stdout.readline()
        assert "another process" in download(hub, home)[-1]["error"]
        first.kill()


def test_download_that_nobody_watches_ends(hub: HubStand, home: Path) -> None:
    hub.pace = 20_000
    environment = hub.environment(home)
    with subprocess.Popen(COMMAND, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as one:
        assert one.stdout
        assert one.stderr
        one.stdout.readline()
        one.stdout.close()
        assert one.wait(timeout=10) == 2
        assert one.stderr.read() == ""


def test_interrupted_download_says_that_it_can_go_on(hub: HubStand, home: Path) -> None:
    hub.pace = 20_000
    with subprocess.Popen(COMMAND, env=hub.environment(home), stdout=subprocess.PIPE, text=True) as one:
        assert one.stdout
        one.stdout.readline()
        one.send_signal(signal.SIGINT)
        assert "run the same again" in json.loads(one.stdout.readlines()[-1])["error"]
    assert one.returncode == 2


def test_token_goes_to_the_hub_and_to_no_other_host(hub: HubStand, home: Path, served: Path) -> None:
    assert_same(download(hub, home, HF_TOKEN="hf_secret"), served)
    sent = {asked.path.startswith("/cdn/"): asked.headers.get("authorization") for asked in hub.requests}
    assert sent == {False: "Bearer hf_secret", True: None}


@pytest.mark.parametrize(
    ("fault", "words"),
    first(3, [
        (gated("/resolve/"), ["gated", "hf auth login"]),
        (page(), ["not the hub's", "HF_ENDPOINT"]),
        (Fault(404, "", {"X-Error-Code": "RepoNotFound"}), ["no such model on the hub"]),
        (limited(), ["limits requests", "wait 30 s"]),
        (Fault(429, "/cdn/", {"RateLimit": '"resolvers";r=0;t=55'}), ["limits requests", "wait 55 s"]),
        (Fault(503), ["503", "try again later"]),
        (Fault(401), ["401", "hf auth login"]),
        (Fault(404, "", {"X-Error-Code": "RevisionNotFound"}), ["no revision main"]),
    ]),
    ids=["gated", "a page", "no model", "limited", "limited by the store", "down", "bad token", "no revision"],
)
def test_refusal_is_one_line_that_says_what_to_do(hub: HubStand, home: Path, fault: Fault, words: list[str]) -> None:
    hub.faults.append(fault)
    line = download(hub, home)[-1]["error"]
    assert line.startswith(f"{NAME}: ")
    assert "\n" not in line
    for word in words:
        assert word in line


@pytest.mark.slow
def test_no_network_is_named(hub: HubStand, home: Path) -> None:
    assert "unreachable" in download(hub, home, HF_ENDPOINT="http://127.0.0.1:9")[-1]["error"]
    assert "HF_HUB_OFFLINE is set" in download(hub, home, HF_HUB_OFFLINE="1")[-1]["error"]
