"""What the hub cannot give ends in one line, and soon."""

import contextlib
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tests.helpers.some import fast, first

CLOSED = "http://127.0.0.1:9"


@contextlib.contextmanager
def hub(code: int, reason: str) -> Iterator[str]:
    """The address of a hub that answers every request in that way."""

    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(code)
            if reason:
                self.send_header("X-Error-Code", reason)
                self.send_header("X-Error-Message", reason)
            self.send_header("Content-Length", "2")
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(b"{}")

        do_HEAD = do_POST = do_GET

        def log_message(self, format: str, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Answer) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


def refused(home: Path, endpoint: str, *arguments: object) -> str:
    """The one line of a command that asks that hub, with an empty cache."""
    environment = os.environ | {
        "HF_ENDPOINT": endpoint, "HF_HOME": str(home), "MIO_LOCAL_RUNS": str(home / "runs"), "HF_TOKEN": "",
    }  # fmt: skip
    environment = {key: value for key, value in environment.items() if "proxy" not in key.lower()}
    began = time.monotonic()
    ended = subprocess.run(
        [sys.executable, "-m", "mio_local.cli", *map(str, arguments)], text=True, capture_output=True,
        env=environment, timeout=100,
    )  # fmt: skip
    assert ended.returncode == 2, ended.stderr
    assert ended.stderr.startswith("mio-local: "), ended.stderr
    assert ended.stderr.count("\n") == 1, ended.stderr
    assert not (home / "runs").exists()
    assert time.monotonic() - began < 40  # seconds on a busy machine; the client's retries alone would take more
    return ended.stderr


def test_unreachable_hub_is_named_for_a_model(tmp_path: Path, tiny_pairs: Path) -> None:
    line = refused(tmp_path, CLOSED, "train", "--model", "org/model", "--data", tiny_pairs)
    assert "org/model" in line
    assert "unreachable" in line


@pytest.mark.slow
def test_unreachable_hub_is_named_for_data(tmp_path: Path, tiny_model: Path) -> None:
    line = refused(tmp_path, CLOSED, "data", "check", "org/pairs")
    assert "org/pairs" in line
    assert "unreachable" in line


@contextlib.contextmanager
def silent() -> Iterator[str]:
    """The address of a hub that takes requests and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"http://127.0.0.1:{server.getsockname()[1]}"


@pytest.mark.parametrize("way", fast(["closed", "silent"], ["closed"]))
@pytest.mark.parametrize("command", fast(["train", "check"], ["train"]))
def test_a_model_of_no_name_is_told_within_seconds(tmp_path: Path, tiny_pairs: Path, way: str, command: str) -> None:
    """By the tokenizer, which is read first by data check, and by the weights."""
    words = ["train", "--data", tiny_pairs] if command == "train" else ["data", "check", tiny_pairs]
    with silent() if way == "silent" else contextlib.nullcontext(CLOSED) as endpoint:
        line = refused(tmp_path, endpoint, *words, "--model", "MODEL")
    assert "MODEL: no such folder" in line
    assert "the hub is unreachable" in line


@pytest.mark.parametrize(
    ("code", "reason", "words"),
    first(1, [
        (404, "RepoNotFound", "no such model on the hub"),
        (401, "", "401"),
        (403, "GatedRepo", "gated"),
        (404, "RevisionNotFound", "no revision main"),
    ]),
)
def test_refusal_of_a_model_is_named(tmp_path: Path, tiny_pairs: Path, code: int, reason: str, words: str) -> None:
    with hub(code, reason) as endpoint:
        line = refused(tmp_path, endpoint, "train", "--model", "org/model", "--data", tiny_pairs)
    assert "org/model" in line
    assert words in line


@pytest.mark.slow
def test_missing_dataset_is_named(tmp_path: Path) -> None:
    with hub(404, "RepoNotFound") as endpoint:
        line = refused(tmp_path, endpoint, "data", "check", "org/pairs")
    assert "org/pairs: no such file, and no such dataset on the hub" in line
