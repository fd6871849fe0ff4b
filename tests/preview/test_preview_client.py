"""The app's side of the preview: real processes that answer, print, die, and hang."""

import asyncio
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from mio_local.errors import MioError
from mio_local.preview import preview_client
from mio_local.preview.preview_client import Preview, PreviewError

NOISY = """
import logging, os, sys, warnings
print("noise")
os.write(1, b"noise")
os.system("echo noise")
assert sys.stdin.read() == ""
warnings.warn("noise")
logging.getLogger().error("noise")
from transformers import PreTrainedTokenizerFast
class T(PreTrainedTokenizerFast): pass
"""
CLOSE_WHILE_BUSY = """
import asyncio, sys
from mio_local.errors import MioError
from mio_local.preview.preview_client import Preview

async def main():
    asyncio.get_running_loop().slow_callback_duration = 60  # on a busy machine every callback is slow
    preview = Preview()
    await preview.start()
    asking = asyncio.create_task(preview.ask("open", data={"source": sys.argv[1]}))
    await asyncio.sleep(1)
    began = asyncio.get_running_loop().time()
    await preview.close()
    assert asyncio.get_running_loop().time() - began < 1
    for ask in (asking, preview.ask("pair", row=0)):
        try:
            await ask
        except MioError as error:
            print(error)
    await preview.close()

asyncio.run(main())
try:
    import os
    os.waitpid(-1, os.WNOHANG)
except ChildProcessError:
    print("no zombie")
"""


@pytest.fixture
async def preview() -> AsyncIterator[Preview]:
    made = Preview()
    yield made
    await made.close()


def acting(monkeypatch: pytest.MonkeyPatch, code: str) -> None:
    """The process is this Python code instead."""
    monkeypatch.setattr(Preview, "command", lambda _: ("-c", code))


async def test_asking(preview: Preview, tiny_pairs: Path) -> None:
    """Answers, errors with what the process adds to them, and several requests at one time."""
    await preview.start()
    assert (await preview.ask("open", data={"source": str(tiny_pairs)}))["pairs"] == 24
    pairs = await asyncio.gather(*(preview.ask("pair", row=row) for row in range(24)))
    assert [pair["row"] for pair in pairs] == list(range(24))
    with pytest.raises(PreviewError, match="row 24: there are rows 0 to 23"):
        await preview.ask("pair", row=24)
    with pytest.raises(PreviewError, match="no column chossen") as caught:
        await preview.ask("open", data={"source": str(tiny_pairs), "columns": {"chosen": "chossen"}})
    assert caught.value.answer["available"] == ["prompt", "chosen", "rejected"]


async def test_a_summary_with_progress_and_one_cancelled(preview: Preview, tmp_path: Path, tiny_model: Path) -> None:
    """`progress` rises to less than the total; what overtakes a summary ends it."""
    file = tmp_path / "f.jsonl"
    file.write_text("".join(json.dumps({"prompt": f"{n}", "chosen": "a", "rejected": "b"}) + "\n" for n in range(3000)))
    data, model = {"source": str(file)}, {"name": str(tiny_model)}
    await preview.ask("open", data=data, model=model)
    told: list[tuple[int, int]] = []
    answer = await preview.summary(lambda done, total: told.append((done, total)))
    assert answer["summary"]["encoded"] == 3000
    assert told
    assert told == sorted(set(told))
    assert {total for _, total in told} == {3000}
    await preview.ask("open", data=data | {"system": "be"}, model=model)  # as what was summed up is known by now
    begun = asyncio.Event()
    summary = asyncio.create_task(preview.summary(lambda done, total: begun.set()))
    await begun.wait()
    assert (await preview.ask("open", data=data, model={}))["tokens"] is False
    assert (await summary)["cancelled"] is True


async def test_a_request_that_its_asker_gives_up(preview: Preview, tiny_pairs: Path) -> None:
    """Its answer is nobody's, and the next one is right."""
    asking = asyncio.create_task(preview.ask("open", data={"source": str(tiny_pairs)}))
    await asyncio.sleep(0.1)
    asking.cancel()
    assert (await preview.ask("pair", row=3))["row"] == 3


@pytest.mark.slow
async def test_an_open_that_takes_long_gives_way_to_the_next(
    preview: Preview, tmp_path: Path, tiny_pairs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A pipe that nobody writes to stands for a large download; one asker gave it up, another still waits."""
    monkeypatch.setattr(preview_client, "PATIENCE", 0.2)
    slow = tmp_path / "slow.jsonl"
    os.mkfifo(slow)
    await preview.ask("open", data={"source": str(tiny_pairs)})
    for gives_up in (True, False):
        assert preview.process
        before = preview.process.pid
        asking = asyncio.create_task(preview.ask("open", data={"source": str(slow)}))
        await asyncio.sleep(0.3)
        if gives_up:
            asking.cancel()
        assert (await preview.ask("open", data={"source": str(tiny_pairs)}))["pairs"] == 24
        assert preview.process.pid != before
        if not gives_up:
            with pytest.raises(MioError, match="the data preview began anew for another source"):
                await asking
    before = preview.process.pid
    assert (await preview.ask("open", data={"source": str(tiny_pairs)}))["pairs"] == 24
    assert preview.process.pid == before


async def test_a_killed_process_is_started_again(preview: Preview, tiny_pairs: Path) -> None:
    """Who waits is told at once, and the next request has a new process."""
    await preview.ask("open", data={"source": str(tiny_pairs)})
    assert preview.process
    os.kill(preview.process.pid, signal.SIGSTOP)  # so that it cannot answer before it is killed
    asking = asyncio.create_task(preview.ask("pair", row=0))
    await asyncio.sleep(0.1)
    os.kill(preview.process.pid, signal.SIGKILL)
    with pytest.raises(MioError, match=r"the data preview ended unexpectedly \(signal 9\); try again"):
        await asking
    with pytest.raises(MioError, match="nothing is open yet") as told:
        await preview.ask("pair", row=0)
    assert not isinstance(told.value, PreviewError)
    assert (await preview.ask("open", data={"source": str(tiny_pairs)}))["pairs"] == 24


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("import sys; sys.exit('first\\n\\x1b[31mboom\\n')", "\\u{1b}[31mboom"),
        ("raise SystemExit(3)", "exit code 3"),
        ("print('no answer', flush=True); input()", "unreadable answer"),
        ("print('x' * 11 * 2**20, flush=True); input()", "unreadable answer"),
        ("import os; os.close(1); import time; time.sleep(60)", "signal 9"),
        ("import subprocess, sys; subprocess.Popen(['sleep', '3'], stdout=-3); sys.exit(4)", "exit code 4"),
    ],
)
async def test_how_it_ended_is_told(preview: Preview, monkeypatch: pytest.MonkeyPatch, code: str, words: str) -> None:
    """By its last line on stderr, else by how it ended, without control characters."""
    acting(monkeypatch, code)
    began = time.monotonic()
    with pytest.raises(MioError) as caught:
        await preview.ask("open")
    assert words in str(caught.value)
    assert str(caught.value).isprintable()
    assert time.monotonic() - began < 2.5


async def test_a_talkative_stderr_does_not_stop_it(preview: Preview, monkeypatch: pytest.MonkeyPatch) -> None:
    """A pipe that nobody reads is full after 64 kB."""
    code = "import sys; input(); sys.stderr.write('x' * 10**6); print('{\"id\": 1, \"row\": 7}', flush=True); input()"
    acting(monkeypatch, code)
    assert (await preview.ask("open"))["row"] == 7


async def test_what_libraries_print_reaches_no_answer(preview: Preview, tmp_path: Path, tiny_model: Path) -> None:
    """A tokenizer with code of its own that prints by every way there is, and reads stdin."""
    model = shutil.copytree(tiny_model, tmp_path / "model")
    settings = json.loads((model / "tokenizer_config.json").read_text())
    settings |= {"tokenizer_class": "T", "auto_map": {"AutoTokenizer": [None, "code.T"]}}
    (model / "tokenizer_config.json").write_text(json.dumps(settings))
    (model / "code.py").write_text(NOISY)
    file = tmp_path / "f.jsonl"
    file.write_text(json.dumps({"prompt": "q", "chosen": "a", "rejected": "b"}))
    request = {"data": {"source": str(file)}, "model": {"name": str(model), "trust_remote_code": True}}
    assert (await preview.ask("open", **request))["tokens"]
    assert (await preview.ask("pair", row=0))["parts"][1]["pieces"] == [["a", False], ["<|im_end|>", True]]


async def test_the_hub_is_asked_again_after_it_was_away(
    preview: Preview, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same process finds the hub once it answers; here, that it has no such dataset."""

    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(404)
            self.send_header("X-Error-Code", "RepoNotFound")
            self.send_header("Content-Length", "0")
            self.end_headers()

        do_HEAD = do_POST = do_GET

        def log_message(self, format: str, *args: object) -> None:
            pass

    for name in [name for name in os.environ if "proxy" in name.lower()]:
        monkeypatch.delenv(name)
    with ThreadingHTTPServer(("127.0.0.1", 0), Answer, bind_and_activate=False) as server:
        server.server_bind()  # the port is ours, and refuses until it listens
        for name, value in (("ENDPOINT", f"http://127.0.0.1:{server.server_address[1]}"), ("HOME", str(tmp_path))):
            monkeypatch.setenv(f"HF_{name}", value)
        with pytest.raises(PreviewError, match="the hub is unreachable"):
            await preview.ask("open", data={"source": "some/pairs"})
        server.server_activate()
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        with pytest.raises(PreviewError, match="no such dataset on the hub"):
            await preview.ask("open", data={"source": "some/pairs"})
        server.shutdown()


def test_closing_while_it_works(tmp_path: Path) -> None:
    """Within a second, without a zombie, and without a word of asyncio's, with all its warnings on."""
    file = tmp_path / "f.jsonl"
    file.write_text((json.dumps({"prompt": "q", "chosen": "a", "rejected": "b"}) + "\n") * 1_000_000)
    ended = subprocess.run(
        [sys.executable, "-X", "dev", "-W", "error", "-c", CLOSE_WHILE_BUSY, str(file)],
        capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert (ended.stderr, ended.returncode) == ("", 0)
    assert ended.stdout == "the data preview is closed\n" * 2 + "no zombie\n"


def test_the_client_loads_nothing_heavy() -> None:
    """The app's process imports it."""
    code = (
        "import sys, mio_local.preview.preview_client; print(sorted({name.partition('.')[0] for name in sys.modules}))"
    )
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert "asyncio" in loaded
    for name in ("torch", "mlx", "transformers", "datasets", "huggingface_hub", "pyarrow", "numpy", "pydantic"):
        assert f"'{name}'" not in loaded
