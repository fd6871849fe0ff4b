"""A server on this machine that stands in for the Hugging Face hub, as far as its real client asks, with its faults.

    with HubStand(models={"org/name": folder}) as hub:
        subprocess.run(..., env=hub.environment(home))
        hub.requests  # what was asked and what was sent

Weights are kept by their SHA-256 and come, as on the hub, from another host, to which a redirect leads.
"""

import hashlib
import json
import os
import socket
import struct
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

CHUNK = 16 * 1024


@dataclass
class Asked:
    """One request and its answer."""

    method: str
    path: str
    query: dict[str, list[str]]
    headers: dict[str, str]  # names in lower case
    status: int = 0
    sent: int = 0  # bytes of the body

    @property
    def range(self) -> str:
        """The Range header, or an empty string."""
        return self.headers.get("range", "")


@dataclass
class Fault:
    """An answer given in place of the right one, to paths that hold `path`."""

    status: int
    path: str = ""
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b"{}"


def gated(path: str = "") -> Fault:
    """What the hub answers about a gated model's files to one who has not accepted its terms."""
    return Fault(403, path, {"X-Error-Code": "GatedRepo", "X-Error-Message": "Access to this model is restricted."})


def limited(path: str = "", seconds: int = 30) -> Fault:
    """What the hub answers to one who asks too often."""
    return Fault(429, path, {"Retry-After": str(seconds)})


def page(path: str = "") -> Fault:
    """What a hotel's proxy answers."""
    return Fault(200, path, {"Content-Type": "text/html"}, b"<html><body>Please log in</body></html>")


@dataclass
class Repository:
    """A folder that the hub serves, and what its page says beside its files."""

    name: str
    folder: Path
    about: dict[str, Any]
    before: "Repository | None" = None

    @property
    def commit(self) -> str:
        return hashlib.sha1(f"{self.name} {self.folder}".encode()).hexdigest()

    def at(self, revision: str) -> "Repository | None":
        return self if revision in ("main", self.commit) else self.before and self.before.at(revision)

    def files(self) -> list[Path]:
        return sorted(path for path in self.folder.rglob("*") if path.is_file())

    def info(self) -> dict[str, Any]:
        return {
            "_id": "0", "id": self.name, "sha": self.commit, "downloads": 0, "gated": False, "private": False,
            "tags": [], "siblings": [self.sibling(file) for file in self.files()],
        } | self.about  # fmt: skip

    def sibling(self, file: Path) -> dict[str, Any]:
        name, (digest, size) = file.relative_to(self.folder).as_posix(), digest_of(file)
        kept = {"lfs": {"sha256": digest, "size": size, "pointerSize": 134}} if is_large(file) else {}
        return {"rfilename": name, "size": size, "blobId": digest[:40], **kept}

    def tree(self) -> list[dict[str, Any]]:
        listed = []
        for file in self.files():
            name, (digest, size) = file.relative_to(self.folder).as_posix(), digest_of(file)
            kept = {"lfs": {"oid": digest, "size": size, "pointerSize": 134}} if is_large(file) else {}
            listed.append({"type": "file", "path": name, "size": size, "oid": digest[:40], **kept})
        return listed


def is_large(file: Path) -> bool:
    """Whether the hub keeps a file by its SHA-256."""
    return file.suffix in (".safetensors", ".bin")


@cache
def digest_of(file: Path) -> tuple[str, int]:
    """SHA-256 in hexadecimal, and size."""
    content = file.read_bytes()
    return hashlib.sha256(content).hexdigest(), len(content)


class HubStand:
    """The server. Set its attributes at any time; they hold from the next request on.

    `faults` are tried in turn. `cut_after`: break the connection after so many bytes of weights, `cuts` times, with a
    reset where `reset` is set. `pace`: bytes a second of weights. `ranges` False: every Range header is ignored.
    `stall`: seconds before any answer. `about` gives an entry more fields, such as downloads, tags and safetensors.
    """

    def __init__(
        self,
        models: Mapping[str, Path] | None = None,
        datasets: Mapping[str, Path] | None = None,
        about: Mapping[str, dict[str, Any]] | None = None,
    ) -> None:
        about = about or {}
        self.kinds = {
            kind: {name: Repository(name, folder, about.get(name, {})) for name, folder in (given or {}).items()}
            for kind, given in (("models", models), ("datasets", datasets))
        }
        self.faults: list[Fault] = []
        self.cut_after: int | None = None
        self.cuts = 1
        self.reset = False
        self.pace = 0
        self.ranges = True
        self.stall = 0.0
        self.requests: list[Asked] = []
        stand = self

        class Answer(Handler):
            hub = stand

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Answer)
        self._server.daemon_threads = True
        self.port = self._server.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}"

    def __enter__(self) -> "HubStand":
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def environment(self, home: Path) -> dict[str, str]:
        """This process's environment with this hub, an empty cache below `home`, no token and no proxy."""
        kept = {key: value for key, value in os.environ.items() if not key.startswith("HF_")}
        kept = {key: value for key, value in kept.items() if "proxy" not in key.lower()}
        return kept | {
            "HF_ENDPOINT": self.url, "HF_HOME": str(home), "HF_HUB_DISABLE_XET": "1", "HF_HUB_DISABLE_TELEMETRY": "1",
            "HF_TOKEN": "", "MIO_LOCAL_RUNS": str(home / "runs"),
        }  # fmt: skip

    def move(self, name: str, folder: Path) -> None:
        """Make another folder a model's main branch; its commits before stay."""
        self.kinds["models"][name] = Repository(name, folder, {}, self.kinds["models"][name])

    def weights_sent(self) -> list[Asked]:
        """The requests that fetched weights, in their order."""
        return [asked for asked in self.requests if asked.method == "GET" and asked.path.startswith("/cdn/")]


class Handler(BaseHTTPRequestHandler):
    """One connection to the stand."""

    protocol_version = "HTTP/1.1"
    hub: HubStand

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        headers = {name.lower(): value for name, value in self.headers.items()}
        self.asked = Asked(self.command, unquote(url.path), parse_qs(url.query), headers)
        self.hub.requests.append(self.asked)
        time.sleep(self.hub.stall)
        try:
            fault = next((fault for fault in self.hub.faults if fault.path in self.asked.path), None)
            if fault:
                self.send(fault.status, fault.body, fault.headers)
            else:
                self.route([part for part in self.asked.path.split("/") if part])
        except ConnectionError:
            self.close_connection = True

    do_HEAD = do_GET

    def log_message(self, format: str, *args: object) -> None:
        pass

    def route(self, parts: list[str]) -> None:
        match parts:
            case ["api", ("models" | "datasets") as kind]:
                self.offer(list(self.hub.kinds[kind].values()))
            case ["api", ("models" | "datasets") as kind, *rest]:
                self.describe(kind, rest)
            case ["cdn", digest]:
                known = [one for kind in self.hub.kinds.values() for one in kind.values()]
                files = [file for one in known for at in (one, one.before) if at for file in at.files()]
                self.send_file(next(file for file in files if digest_of(file)[0] == digest))
            case [*name, "resolve", revision, file] if name:
                kind = "datasets" if name[0] == "datasets" else "models"
                self.resolve(kind, "/".join(name[kind == "datasets" :]), revision, file)
            case _:
                self.send(404)

    def offer(self, found: list[Repository]) -> None:
        query = self.asked.query
        words = query.get("search", [""])[0].lower()
        wanted = {"id", *query["expand"]} if "expand" in query else {"id", "tags", "downloads", "sha"}
        infos = [one.info() for one in found if words in one.name.lower()]
        infos = [info for info in infos if query.get("pipeline_tag", [None])[0] in (None, info.get("pipeline_tag"))]
        infos = [info for info in infos if set(query.get("filter", [])) <= set(info["tags"])]
        infos.sort(key=lambda info: -(info["downloads"] or 0))
        limit = int(query.get("limit", ["1000"])[0])
        self.send_json([{key: info[key] for key in info if key in wanted} for info in infos[:limit]])

    def describe(self, kind: str, rest: list[str]) -> None:
        what, revision = (rest[2], rest[3]) if len(rest) > 3 else ("revision", "main")
        if one := self.find(kind, "/".join(rest[:2]), revision):
            self.send_json(one.tree() if what == "tree" else one.info())

    def find(self, kind: str, name: str, revision: str) -> Repository | None:
        one = self.hub.kinds[kind].get(name)
        found = one.at(revision) if one else None
        if found is None:
            self.send(404, headers={"X-Error-Code": "RevisionNotFound" if one else "RepoNotFound"})
        return found

    def resolve(self, kind: str, name: str, revision: str, file: str) -> None:
        if not (one := self.find(kind, name, revision)):
            return
        path = one.folder / file
        commit = {"X-Repo-Commit": one.commit}
        if not path.is_file():
            self.send(404, headers=commit | {"X-Error-Code": "EntryNotFound"})
        elif is_large(path):
            digest, size = digest_of(path)
            large = {"X-Linked-Etag": f'"{digest}"', "X-Linked-Size": str(size)}
            self.send(302, headers=commit | large | {"Location": f"http://localhost:{self.hub.port}/cdn/{digest}"})
        else:
            self.send(200, path.read_bytes(), commit | {"ETag": f'"{digest_of(path)[0][:40]}"'})

    def send_file(self, path: Path) -> None:
        content, start = path.read_bytes(), 0
        if self.hub.ranges and self.asked.range:
            start = int(self.asked.range.removeprefix("bytes=").removesuffix("-"))
        ranged = {"Content-Range": f"bytes {start}-{len(content) - 1}/{len(content)}"} if start else {}
        cut = self.hub.cut_after if self.hub.cuts > 0 and self.command == "GET" else None
        if cut is not None:
            self.hub.cuts -= 1
        self.send(206 if start else 200, content[start:], ranged, cut)

    def send_json(self, value: object) -> None:
        self.send(200, json.dumps(value).encode(), {"Content-Type": "application/json"})

    def send(
        self, status: int, body: bytes = b"", headers: Mapping[str, str] | None = None, cut: int | None = None
    ) -> None:
        self.asked.status = status
        self.send_response(status)
        for name, value in ({"Content-Length": str(len(body))} | dict(headers or {})).items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "HEAD":
            return
        body = body[:cut]
        pace = self.hub.pace if self.asked.path.startswith("/cdn/") else 0
        for start in range(0, len(body), CHUNK):
            chunk = body[start : start + CHUNK]
            self.wfile.write(chunk)
            self.asked.sent += len(chunk)
            if pace:
                time.sleep(len(chunk) / pace)
        if cut is not None:
            self.close_connection = True
            if self.hub.reset:  # a reset, and not an ordinary end: what is on its way is lost
                self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                self.connection.close()
            else:
                self.connection.shutdown(socket.SHUT_RDWR)
