"""Models on this disk and on the hub: what the lists show, and what they say when the hub cannot be asked."""

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import constants
from safetensors.numpy import load_file, save_file

from mio_local.models.hub import ModelCard, on_disk
from tests.helpers.hub_server import Fault, HubStand, gated, limited, page

COMMIT = "0123456789abcdef0123456789abcdef01234567"
ODD = "org/[red]\x1b[31mname[/b"
ABOUT: dict[str, dict[str, Any]] = {
    "org/qwen": {
        "downloads": 900, "pipeline_tag": "text-generation", "tags": ["safetensors", "license:apache-2.0"],
        "safetensors": {"parameters": {"BF16": 1_000_000, "F32": 10}, "total": 1_000_010},
        "config": {"architectures": ["QwenForCausalLM"]},
    },
    "org/qwen-4bit": {
        "downloads": 5000, "pipeline_tag": "text-generation", "tags": ["mlx", "safetensors", "4-bit"], "gated": "auto",
        "safetensors": {"parameters": {"BF16": 32_000, "U32": 1_000_000}, "total": 1_032_000},
    },
    "org/qwen-gguf": {"pipeline_tag": "text-generation", "tags": ["gguf"]},
    "org/qwen-embedding": {"pipeline_tag": "feature-extraction", "tags": ["safetensors"]},
    ODD: {
        "pipeline_tag": "text-generation", "tags": ["safetensors", 7], "safetensors": {"parameters": {"BF16": "many"}},
        "config": ["no", "object"], "downloads": None,
    },
    "org/pairs": {
        "downloads": 12, "tags": ["license:mit"], "gated": "manual",
        "cardData": {"dataset_info": [{"splits": [{"num_examples": 900}, {"num_examples": 100}]}, {"splits": []}]},
    },
    "org/more-pairs": {"downloads": 13, "cardData": {"dataset_info": {"splits": [{"num_examples": 7}]}}},
    "org/other-pairs": {"cardData": "none"},
}  # fmt: skip
DATA = [name for name in ABOUT if "pairs" in name]


@pytest.fixture
def hub(tiny_model: Path, tmp_path: Path) -> Iterator[HubStand]:
    model = shutil.copytree(tiny_model, tmp_path / "served")
    (model / "pytorch_model.bin").write_bytes(b"a pickle" * 1000)
    (tmp_path / "data").mkdir()
    with HubStand(
        {name: model for name in ABOUT if name not in DATA}, dict.fromkeys(DATA, tmp_path / "data"), ABOUT
    ) as stand:
        yield stand


def ask(hub: HubStand, home: Path, *calls: str, first: str = "", **environment: str) -> list[Any]:
    """What calls of `models.hub` return in a process that asks that hub: cards as dicts, or a HubError's line."""
    code = f"""import dataclasses, json, sys, time
from mio_local.models import hub
from mio_local.errors import HubError
{first}
for call in {calls!r}:
    try:
        value = eval("hub." + call)
        cards = value if isinstance(value, list) else [value]
        print(json.dumps([dataclasses.asdict(card) | {{"folder": None}} for card in cards]))
    except HubError as error:
        print(json.dumps(str(error)))
"""
    variables = hub.environment(home) | environment
    ended = subprocess.run([sys.executable, "-c", code], env=variables, capture_output=True, text=True, timeout=60)
    assert ended.returncode == 0, ended.stderr
    assert ended.stderr == ""
    return [json.loads(line) for line in ended.stdout.splitlines()]


def test_search_lists_what_can_be_trained_the_most_loaded_first(hub: HubStand, tmp_path: Path) -> None:
    found, first, odd = ask(hub, tmp_path / "home", "search('QWEN')", "search('qwen', 1)", "search('red')")
    four, full = found
    assert [card["name"] for card in found] == ["org/qwen-4bit", "org/qwen"]
    assert full["size"] == 1_000_000 * 2 + 10 * 4
    assert full["parameters"] == 1_000_010
    assert (full["quant"], full["licence"], full["downloads"], full["gated"]) == ("bf16", "apache-2.0", 900, False)
    # 8 weights in each 32-bit item, and a 16-bit scale and bias for each 64: the hub counts items, not weights
    assert four["size"] == 32_000 * 2 + 1_000_000 * 4
    assert four["parameters"] == pytest.approx(8_000_000, rel=0.15)
    assert (four["quant"], four["gated"]) == ("4-bit", True)
    assert [card["name"] for card in first] == ["org/qwen-4bit"]
    assert not full["complete"]
    assert [(card["name"], card["size"], card["config"]) for card in odd] == [(ODD, 0, {})]
    assert hub.requests[0].query["search"] == ["QWEN"]


def test_look_gives_size_and_configuration_and_stores_nothing(
    hub: HubStand, tmp_path: Path, tiny_model: Path
) -> None:
    (card,), missing = ask(hub, tmp_path / "home", "look('org/qwen')", "look('org/qwen', 'v9')")
    assert card["size"] == sum(file.stat().st_size for file in tiny_model.iterdir())
    assert card["config"] == json.loads((tiny_model / "config.json").read_text(encoding="utf-8"))
    assert card["parameters"] == 1_000_010
    assert not (tmp_path / "home" / "hub").exists()
    assert "org/qwen: no revision v9 on the hub" in missing


def test_search_data_gives_rows_where_they_are_known(hub: HubStand, tmp_path: Path) -> None:
    (found,) = ask(hub, tmp_path / "home", "search_data('pairs')")
    assert [(card["name"], card["rows"]) for card in found] == [
        ("org/more-pairs", 7), ("org/pairs", 1000), ("org/other-pairs", 0),
    ]  # fmt: skip
    assert (found[1]["licence"], found[1]["downloads"], found[1]["gated"]) == ("mit", 12, True)


FAULTS = {
    "gated": (gated("/resolve/"), ["gated", "hf auth login"]),
    "limited": (limited(), ["limits requests", "wait 30 s", "hf auth login"]),
    "down": (Fault(502), ["502", "try again later"]),
    "page": (page(), ["not the hub's", "proxy", "HF_ENDPOINT"]),
    "cut": (Fault(200, "", {"Content-Length": "99", "Connection": "close"}, b"[]"), ["unreachable"]),
    "not JSON objects": (Fault(200, "", {}, b"[[1], 2, null]"), []),
}


@pytest.mark.parametrize("kind", FAULTS)
def test_hub_that_refuses_is_asked_once_and_named(hub: HubStand, tmp_path: Path, kind: str) -> None:
    fault, words = FAULTS[kind]
    hub.faults.append(fault)
    began = time.monotonic()
    looked, found, data = ask(hub, tmp_path, "look('org/qwen')", "search('qwen')", "search_data('pairs')")
    assert time.monotonic() - began < 20  # the client's own retries would take 30
    lines = [looked] if kind == "gated" else [looked, found, data] if words else []
    assert all(isinstance(line, str) and "\n" not in line for line in lines)
    for line in lines:
        assert line.startswith(("org/qwen: ", "hub search: "))
        for word in words:
            assert word in line
    if not words:
        assert found == data == []
    assert len(hub.requests) == (4 if kind == "gated" else 3)


def test_unknown_and_impossible_names_are_named(hub: HubStand, tmp_path: Path) -> None:
    lines = ask(hub, tmp_path, "look('org/none')", "look('org/na me')", "look('../../etc')")
    assert "org/none: no such model on the hub" in lines[0]
    assert "org/na me: no name that a model" in lines[1]
    assert "../../etc: no name that a model" in lines[2]
    assert len(hub.requests) == 1


@pytest.mark.slow
def test_no_network_and_a_silent_hub_are_named_soon(hub: HubStand, tmp_path: Path) -> None:
    calls = ("search('qwen')", "look('org/qwen')", "search_data('pairs')")
    for line in ask(hub, tmp_path, *calls, HF_ENDPOINT="http://127.0.0.1:9"):
        assert "the hub is unreachable" in line
    for line in ask(hub, tmp_path, *calls, HF_HUB_OFFLINE="1"):
        assert "HF_HUB_OFFLINE is set" in line
    hub.stall = 5.0
    began = time.monotonic()
    for line in ask(hub, tmp_path, *calls, first="assert hub.TIMEOUT <= 10; hub.TIMEOUT = 0.2"):
        assert "the hub is unreachable" in line
    assert time.monotonic() - began < 12  # and not 3 times 5


Make = Callable[..., Path]


@pytest.fixture
def make(tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Make:
    """Put a model into the cache of this test, as the client lays it out; its snapshot."""
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))

    def put(name: str, used: float = 0, without: tuple[str, ...] = (), **config: Any) -> Path:
        repository = tmp_path / "hub" / f"models--{name.replace('/', '--')}"
        snapshot, blobs = repository / "snapshots" / COMMIT, repository / "blobs"
        for folder in (snapshot, blobs, repository / "refs"):
            folder.mkdir(parents=True)
        (repository / "refs" / "main").write_text(COMMIT)
        for file in tiny_model.iterdir():
            if file.name not in without:
                shutil.copy(file, blobs / file.stem)
                os.utime(blobs / file.stem, (used, used))
                (snapshot / file.name).symlink_to(f"../../blobs/{file.stem}")
        if config:
            settings = json.loads((tiny_model / "config.json").read_text(encoding="utf-8"))
            (blobs / "config").write_text(json.dumps(settings | config), encoding="utf-8")
        return snapshot

    return put


def test_no_cache_is_an_empty_list(make: Make, tmp_path: Path) -> None:
    assert on_disk() == on_disk([tmp_path / "none"]) == []
    (tmp_path / "hub").write_text("a file")
    assert on_disk() == []


def test_models_on_disk_are_listed_by_last_use(make: Make, tiny_model: Path) -> None:
    make("org/old", 1000)
    make("gpt2", 3000, dtype="bfloat16", architectures=["GPT2LMHeadModel"])
    snapshot = make("org/four", 2000, quantization={"bits": 4, "group_size": 64})
    cards = on_disk()
    assert [card.name for card in cards] == ["gpt2", "org/four", "org/old"]
    assert [card.quant for card in cards] == ["bf16", "4-bit", "f32"]
    assert all(card.complete and card.on_disk for card in cards)
    assert cards[1].folder == snapshot
    assert cards[2].size == sum(file.stat().st_size for file in tiny_model.iterdir())
    counted = sum(tensor.size for tensor in load_file(tiny_model / "model.safetensors").values())
    assert cards[2].parameters == pytest.approx(counted, rel=0.05)  # the file's header is counted in


def test_what_is_broken_or_no_language_model_is_left_out(make: Make, tmp_path: Path) -> None:
    make("org/bert", architectures=["BertForMaskedLM"])
    make("org/pickle", without=("model.safetensors",))
    make("org/looked-at", without=("model.safetensors", "tokenizer.json", "tokenizer_config.json"))
    (make("org/no-json") / "config.json").write_text("{")
    (make("org/not-text") / "config.json").write_bytes(b"\xff\xfe")
    shutil.rmtree(make("org/no-blobs").parents[1] / "blobs")
    shutil.rmtree(make("org/no-snapshots").parents[1] / "snapshots")
    for odd in ("models--", "datasets--org--pairs", "version.txt"):
        (tmp_path / "hub" / odd).write_text("")
    (tmp_path / "hub" / "models--org--loop").symlink_to("models--org--loop")
    assert on_disk() == []
    (make("org/good").parents[1] / "refs" / "main").write_bytes(b"\xff/../..")
    assert [(card.name, card.complete) for card in on_disk()] == [("org/good", True)]


def test_downloads_that_broke_off_are_shown_as_such(make: Make) -> None:
    begun = make("org/begun", 3, without=("model.safetensors",))
    (begun.parents[1] / "blobs" / "abc.incomplete").write_bytes(b"x" * 5_000_000)
    (begun.parents[1] / "blobs" / "older").write_bytes(b"x" * 7_000_000)  # of another commit
    (make("org/dangling", 2).parents[1] / "blobs" / "model").unlink()
    cut = make("org/shards", 1)
    (cut / "model.safetensors").rename(cut / "model-00001-of-00002.safetensors")
    cards = {card.name: card for card in on_disk()}
    assert set(cards) == {"org/begun", "org/dangling", "org/shards"}
    assert not any(card.complete for card in cards.values())
    assert cards["org/begun"].size == 5_000_000 + sum(file.stat().st_size for file in begun.iterdir())
    (cut / "model-00002-of-00002.safetensors").symlink_to(cut / "model-00001-of-00002.safetensors")
    assert {card.name for card in on_disk() if card.complete} == {"org/shards"}


def test_folders_are_models_or_hold_them(make: Make, tiny_model: Path, tmp_path: Path) -> None:
    for name in ("one", "two"):
        shutil.copytree(tiny_model, tmp_path / "models" / name)
    (tmp_path / "models" / "notes.txt").write_text("")
    (tmp_path / "models" / "loop").symlink_to("loop")
    save_file(load_file(tiny_model / "model.safetensors"), tmp_path / "models" / "stray.safetensors")
    cards = on_disk([tmp_path / "models", tiny_model, tiny_model, tmp_path / "models" / "loop", Path("~nobody-there")])
    assert sorted(card.name for card in cards) == sorted(
        [str(tiny_model), str(tmp_path / "models" / "one"), str(tmp_path / "models" / "two")]
    )
    assert all(isinstance(card, ModelCard) and card.complete for card in cards)


def test_dozens_of_models_are_listed_at_once(make: Make) -> None:
    for number in range(48):
        make(f"org/model-{number}", number)
    best = 1e9
    for _ in range(5):
        began = time.perf_counter()
        assert len(on_disk()) == 48
        best = min(best, time.perf_counter() - began)
    assert best < 0.1
