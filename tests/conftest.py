"""Fixtures that several test files share."""

import ctypes
import gc
import json
import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from mio_local import cli
from mio_local.cli import main
from mio_local.runs import launch as launching
from tests.helpers.tiny_model import write_tiny_model

os.environ["TZ"] = "UTC"  # the app shows clock times
time.tzset()
os.environ["MIO_LOCAL_THEME"] = "mio-dark"  # else the app would choose by this terminal's colours
cli.claim = lambda: None  # else a command run in this process would leave other tests without PyTorch
os.environ["MIO_LOCAL_PRELOAD"] = "0"  # else a command run in this process would start pytest again
for number in (signal.SIGINT, signal.SIGHUP):  # which who started pytest may have ignored, for our children too
    if signal.getsignal(number) == signal.SIG_IGN:
        signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)
gc.set_threshold(100_000, 50, 100)  # else a quarter of the time goes to walking over the libraries' objects
SHARED = Path(__file__).resolve().parents[2] / "shared"


def pytest_configure(config: pytest.Config) -> None:
    """A cache of this process, as reference log-probs may be of no other session; it goes when the session ends."""
    cache = tempfile.mkdtemp(prefix="mio-local-cache-")
    os.environ["MIO_LOCAL_CACHE"] = cache
    config.add_cleanup(lambda: shutil.rmtree(cache, ignore_errors=True))


@pytest.fixture(scope="session")
def shared():
    """The folder of real data and models beside the repository; the test skips where it is missing."""
    if not SHARED.is_dir():
        pytest.skip(f"no {SHARED}: real data and models are not on this machine")
    return SHARED


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random Llama of 2 blocks and width 32, with a byte tokenizer and a ChatML template. Copy it to change it."""
    return write_tiny_model(tmp_path_factory.mktemp("models") / "tiny-llama")


@pytest.fixture(scope="session")
def tiny_pairs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A JSONL file of 24 pairs, prompt, chosen and rejected, all of different prompts. Copy it to change it."""
    file = tmp_path_factory.mktemp("data") / "pairs.jsonl"
    rows = [
        {"prompt": f"What is {n} + {n + 1}?", "chosen": f"It is {2 * n + 1}.", "rejected": f"It is {2 * n + 3}, or so."}
        for n in range(24)
    ]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return file


@pytest.fixture
def runs_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder where this test's runs live; it does not exist yet."""
    monkeypatch.setenv("MIO_LOCAL_RUNS", str(tmp_path / "runs"))
    return tmp_path / "runs"


@pytest.fixture
def mistake(
    tmp_path: Path, runs_home: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Callable[..., str]:
    """Call it with the arguments of a command that must fail: exit code 2, one line on stderr, which it returns, and
    not one file of the test's folder or of the runs made, changed or deleted."""

    def fails(*arguments: object) -> str:
        before = files_below(tmp_path)
        monkeypatch.setattr(sys, "argv", ["mio-local", *map(str, arguments)])
        monkeypatch.chdir(tmp_path)
        capfd.readouterr()
        with pytest.raises(SystemExit) as ended:
            main()
        error = capfd.readouterr().err
        assert ended.value.code == 2, error
        assert error.startswith("mio-local: "), error
        assert error.count("\n") == 1, error
        assert error.endswith("\n")
        assert files_below(tmp_path) == before
        return error.strip()

    return fails


@pytest.fixture
def refused_as_others() -> Iterator[None]:
    """While this lasts, root is refused what a file's mode refuses its owner: on Linux, this thread lays down the
    capabilities to read and to write everything (CAP_DAC_OVERRIDE and CAP_DAC_READ_SEARCH of capabilities(7))."""
    if not sys.platform.startswith("linux") or os.geteuid():
        yield
        return
    libc = ctypes.CDLL(None, use_errno=True)
    header, held = (ctypes.c_uint32 * 2)(0x20080522, 0), (ctypes.c_uint32 * 6)()  # version 3; effective comes first
    assert libc.capget(header, held) == 0
    before = held[0]
    held[0] &= ~(1 << 1 | 1 << 2)
    assert libc.capset(header, held) == 0
    yield
    held[0] = before
    assert libc.capset(header, held) == 0


def files_below(folder: Path) -> dict[str, tuple[int, int]]:
    """Every file and folder with its size and time of change."""
    found = {str(path): path.lstat() for path in folder.rglob("*")}
    return {path: (stat.st_size, stat.st_mtime_ns) for path, stat in found.items()}


@pytest.fixture
def launched(monkeypatch):
    """What would have been trained in the background."""
    queues = []
    for place in (launching.__name__, "mio_tui.new.begin"):
        monkeypatch.setattr(f"{place}.launch", lambda queue, **_: queues.append([run.name for run in queue]))
    return queues


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "runs"


@pytest.fixture(scope="module")
def two_lanes():
    """Of PyTorch, whose tests have a core each."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("mio_cuda.cpu_microbatches.THREADS", 2)
        patch.setattr("mio_cuda.cpu_microbatches.threads", lambda: 2)
        yield
