"""A run to the hub: what would be sent, what is sent to a stand-in for the hub, and every refusal in one line."""

import base64
import contextlib
import io
import json
import shlex
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import yaml
from huggingface_hub import constants
from safetensors.numpy import load

from mio_local.cli import main, run
from mio_local.errors import HubError, RecipeError
from mio_local.export import upload
from mio_local.export.upload import seen_by, send
from mio_local.recipe import build, read_toml
from tests.helpers.exporting import train
from tests.helpers.fakes import read_events


class Hub(BaseHTTPRequestHandler):
    """As much of the hub as an upload asks for; `server.status` is what creating a repository answers."""

    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        self.server.asked.append(self.path)
        if self.path == "/api/repos/create":
            self.server.created = json.loads(body)
            self.answer(self.server.status, {"url": self.address()} if self.server.status == 200 else {"error": "no"})
        elif "/preupload/" in self.path:
            names = [file["path"] for file in json.loads(body)["files"]]
            files = [{"path": name, "uploadMode": "regular", "shouldIgnore": False} for name in names]
            self.answer(200, {"files": files})
        elif "/commit/" in self.path:
            for line in map(json.loads, body.splitlines()):
                if line["key"] == "file":
                    self.server.files[line["value"]["path"]] = base64.b64decode(line["value"]["content"])
            self.answer(200, {"commitUrl": f"{self.address()}/commit/{'1' * 40}", "commitOid": "1" * 40})
        else:
            self.answer(200, {})

    def do_GET(self):
        self.server.asked.append(self.path)
        if self.server.status != 200:
            self.answer(404, {"error": "Repository not found"}, {"X-Error-Code": "RepoNotFound"})
            return
        if "/tree/" in self.path:
            held = [{"type": "file", "path": name, "size": 1, "oid": "1" * 40} for name in self.server.held]
            self.answer(200, held)
            return
        siblings = [{"rfilename": name} for name in self.server.held]
        self.answer(200, {"_id": "0", "id": "me/tuned", "sha": "1" * 40, "siblings": siblings, "tags": []})

    def address(self):
        return f"http://127.0.0.1:{self.server.server_address[1]}/me/tuned"

    def answer(self, status, body, headers=()):
        data = json.dumps(body).encode()
        self.send_response(status)
        for name, value in {"content-type": "application/json", **dict(headers)}.items():
            self.send_header(name, value)
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_):
        pass


@pytest.fixture
def hub():
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    server.status, server.held, server.files, server.asked, server.created = 200, [".gitattributes"], {}, [], {}
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture
def undrawn(monkeypatch):
    """Without the curves, which take most of a second, and which `test_what_is_sent` looks at."""
    monkeypatch.setattr(upload, "draw", lambda runs, file: file.write_bytes(b"curves"))


@pytest.fixture(scope="module", params=["mlx", "cuda"])
def trained(request, tiny_model, tiny_pairs, tmp_path_factory):
    more = ["--save-every", "2", "--eval-every", "1", "--set", "data.eval_fraction=0.4"]
    return train(tmp_path_factory.mktemp("runs"), tiny_model, tiny_pairs, request.param, "t", *more)


def push(trained, hub, *words, token="hf_x"):
    """The command, with the client's settings, which it reads from the environment once, put in its place."""
    address = f"http://127.0.0.1:{hub.server_address[1]}" if hub else "http://127.0.0.1:9"
    words = words if "--to" in words else (str(trained.path), "--to", "me/tuned", *words)
    out, error = io.StringIO(), io.StringIO()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(constants, "ENDPOINT", address)
        patch.setattr(constants, "HF_HUB_DISABLE_XET", True)
        patch.setattr(constants, "HF_HUB_OFFLINE", False)  # another test may have set it when the client was imported
        patch.setattr(constants, "HF_TOKEN_PATH", str(trained.path / "hf" / "token"))
        patch.setattr(sys, "argv", ["mio-local", "push", *words])
        patch.setenv("HF_TOKEN", token)
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(error), pytest.raises(SystemExit) as ended:
            main()
    return SimpleNamespace(returncode=ended.value.code, stdout=out.getvalue(), stderr=error.getvalue())


def one_line(ended, *words):
    assert ended.returncode == 2, ended.stderr
    assert ended.stderr.startswith("mio-local: "), ended.stderr
    assert ended.stderr.count("\n") == 1, ended.stderr
    for word in words:
        assert word in ended.stderr


@pytest.mark.usefixtures("undrawn")
def test_nothing_is_sent_unless_asked(trained, hub, capfd):
    ended = push(trained, hub)
    assert ended.returncode == 0, ended.stderr
    assert "nothing was sent" in ended.stdout
    assert "--yes" in ended.stdout
    assert [path for path in hub.asked if "create" in path or "commit" in path] == []
    head = yaml.safe_load(ended.stdout.partition("---\n")[2].partition("---\n")[0])
    assert head["library_name"] == {"mlx": "mlx", "peft": "peft"}[kind(trained)]
    assert "licence of the base is unknown" in ended.stdout


def kind(trained):
    return "mlx" if (trained.adapter / "adapters.safetensors").exists() else "peft"


def test_what_is_sent(trained, hub):
    ended = push(trained, hub, "--yes", "--private", "--license", "mit")
    assert ended.returncode == 0, ended.stderr
    assert hub.created.get("private") or hub.created.get("visibility") == "private"  # by older and newer clients
    weights = {"mlx": "adapters.safetensors", "peft": "adapter_model.safetensors"}[kind(trained)]
    sent, own = load(hub.files[weights]), load((trained.adapter / weights).read_bytes())
    assert sent.keys() == own.keys()
    assert all(np.array_equal(sent[name], own[name]) for name in own)
    card = hub.files["README.md"].decode()
    assert yaml.safe_load(card.partition("---\n")[2].partition("---\n")[0])["license"] == "mit"
    assert f"{scored(trained, 3):.4f}" in card
    assert hub.files["curves.png"].startswith(b"\x89PNG")
    recipe = build(read_toml(trained.recipe), "test")
    for place in (trained.path, recipe.model.name, recipe.data.source, Path.home()):  # nobody's business
        assert not [name for name, content in hub.files.items() if f"{place}".encode() in content], place
    assert "sent: " in ended.stdout


def scored(trained, step):
    return next(one["loss"] for one in read_events(trained.events) if (one["type"], one["step"]) == ("eval", step))


@pytest.mark.usefixtures("undrawn")
def test_a_checkpoints_card_has_its_own_figures(trained, hub):
    found = {step: f"{scored(trained, step):.4f}" for step in (0, 2, 3)}
    assert len(set(found.values())) == 3
    said = push(trained, hub, "--checkpoint", "step-000002").stdout
    assert "weights after step 2" in said
    assert f"| loss | {found[0]} | {found[2]} |" in said
    assert found[3] not in said


@pytest.mark.usefixtures("undrawn")
def test_the_command_that_is_suggested_does_what_was_shown(trained, hub):
    hub.held = ["model.safetensors"]
    given = ["--what", "peft", "--checkpoint", "step-000002", "--license", "a licence; of mine", "--private"]
    said = push(trained, hub, *given, "--replace").stdout
    assert "me/tuned, private\n" in said
    program, command, *words = shlex.split(said.splitlines()[-1])
    assert (program, command) == ("mio-local", "push")
    assert push(trained, hub, *words).returncode == 0
    assert hub.created.get("private") or hub.created.get("visibility") == "private"
    card = hub.files["README.md"].decode()
    assert "license: a licence; of mine" in card
    assert "weights after step 2" in card
    assert "adapter_model.safetensors" in hub.files


@pytest.fixture
def api(monkeypatch):
    """The hub's client, in this process: a repository that is `private`, or not there, or public."""
    made = SimpleNamespace(private=None, created=[], sent=[])
    made.model_info = lambda name: SimpleNamespace(private=made.private, siblings=[])
    made.create_repo = lambda name, **options: made.created.append(options)
    made.upload_folder = lambda **options: made.sent.append(options["repo_id"])
    monkeypatch.setattr("huggingface_hub.HfApi", lambda: made)
    return made


@pytest.mark.parametrize(("there", "asked", "shown"), [
    (None, False, "as the account's default"), (None, True, "private"), (False, False, "public already"),
    (True, False, "private already"), (False, True, "public already"),
])  # fmt: skip
def test_who_may_see_it_is_left_to_the_account(api, there, asked, shown):
    api.private = there
    assert seen_by("me/tuned", private=asked) == shown
    if there is False and asked:
        with pytest.raises(HubError, match="me/tuned: is public, which --private does not change"):
            send(Path(), "me/tuned", private=asked, add=False, title="t")
        assert api.sent == []
        return
    send(Path(), "me/tuned", private=asked, add=False, title="t")
    assert api.created[0]["private"] is (True if asked else None)
    assert api.sent == ["me/tuned"]


@pytest.mark.usefixtures("undrawn")
def test_a_repository_that_holds_something_is_left_alone(trained, hub):
    hub.held = [".gitattributes", "model.safetensors"]
    one_line(push(trained, hub, "--yes"), "me/tuned: holds model.safetensors already", "--replace")
    assert hub.files == {}
    assert push(trained, hub, "--yes", "--replace").returncode == 0


@pytest.mark.usefixtures("undrawn")
@pytest.mark.parametrize("status", [401, 403])
def test_a_token_that_may_not_write(trained, hub, status):
    hub.status = status
    one_line(push(trained, hub, "--yes"), "me/tuned: this token may not write there", "hf auth login")


@pytest.mark.usefixtures("undrawn")
def test_nobody_logged_in(trained, hub):
    one_line(push(trained, hub, "--yes", token=""), "nobody is logged in", "hf auth login")


@pytest.mark.usefixtures("undrawn")
def test_a_hub_that_is_unreachable(trained):
    one_line(push(trained, None, "--yes"), "me/tuned: the hub is unreachable")


@pytest.mark.parametrize("words", [["--to", "tuned"], ["--to", "/x/y"], ["--to", "a/b/c"],
                                   ["--to", "me/"], ["--to", "me/a b?"], ["--to", "me/a..b"],
                                   ["--to", "a/b", "--what", "x"]])
def test_what_is_no_repository(trained, words):
    with pytest.raises(RecipeError, match=r"--to|--what"):
        run(["push", str(trained.path), *words])
