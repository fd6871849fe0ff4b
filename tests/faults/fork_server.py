"""A process that has imported a backend's libraries and forks for each command: a case costs what the command does.

    python -m tests.faults.fork_server mlx FILE

It reads an `Asked` as JSON a line, and answers with an `Ended`. FILE holds the number of changes while a command runs:
files below a folder that were opened to be written, renamed or deleted, as Python's audit events tell them.
"""

import importlib
import json
import os
import resource
import signal
import subprocess
import sys
import time
import traceback
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

IMPORTS = (
    "mio_local.cli", "rich.progress", "matplotlib.pyplot", "safetensors.numpy",
    "transformers.models.llama.configuration_llama", "transformers.models.llama.modeling_llama", "peft",
)  # fmt: skip
OF_MLX = ("mlx_lm.tuner.utils", "mlx_lm.sample_utils", "mlx_lm.models.llama")
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
MAKING = ("open", "os.mkdir", "os.link", "os.symlink")
CHANGING = (*MAKING, "os.rename", "os.remove", "os.rmdir", "os.truncate")


@dataclass
class Asked:
    """A command, and what is to happen to it."""

    argv: list[str]
    environ: dict[str, str]
    below: str  # the folder whose changes count, and in which the command runs
    given: str = ""  # a file for its standard input
    nth: int = 0  # the change at which `signal`, `move` or `errno` strikes
    after: float = 0.0  # or the seconds until `signal` does
    signal: int = 0
    errno: int = 0  # of every change from then on
    making: bool = False  # only of those that need space
    move: list[str] = field(default_factory=list)  # from, to
    before: list[str] = field(default_factory=list)  # functions of `broken`
    files: int = 0  # most file descriptors
    memory: int = 0  # bytes, beside what the process has already
    seconds: float = 600.0  # it is killed after


@dataclass
class Ended:
    """How a command ended: its exit code, or minus the signal's number."""

    code: int
    changes: int
    seconds: float
    left: int  # processes of it that still run


class Hook:
    """Counts the changes, and does its harm at one of them; an audit hook."""

    def __init__(self, asked: Asked, counter: Path) -> None:
        self.asked, self.counter, self.changes = asked, os.open(counter, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), 0

    def __call__(self, event: str, arguments: tuple[Any, ...]) -> None:
        if event not in CHANGING:
            return
        if event == "open" and not (isinstance(arguments[2], int) and arguments[2] & WRITING):
            return
        path = os.fsdecode(arguments[0]) if isinstance(arguments[0], str | bytes | os.PathLike) else ""
        if not path.startswith(self.asked.below):
            return
        self.changes += 1
        os.pwrite(self.counter, str(self.changes).encode(), 0)
        if self.changes == self.asked.nth and self.asked.signal:
            os.kill(os.getpid(), self.asked.signal)
        if self.changes == self.asked.nth and self.asked.move:
            self.asked.nth = 0
            subprocess.run(["mv", *self.asked.move], check=True)
        if self.asked.errno and self.changes >= self.asked.nth > 0 and (event in MAKING or not self.asked.making):
            raise OSError(self.asked.errno, os.strerror(self.asked.errno), path)


def be(asked: Asked, counter: Path, out: str, err: str) -> None:
    """Be the command: never returns."""
    os.setsid()
    os.environ.clear()
    os.environ.update(asked.environ)
    new = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
    for number, path, flags in ((0, asked.given or os.devnull, os.O_RDONLY), (1, out, new), (2, err, new)):
        os.dup2(os.open(path, flags), number)
    os.chdir(asked.below)
    sys.argv = ["mio-local", *asked.argv]
    from tests.faults import broken

    for name in asked.before:
        getattr(broken, name)()
    sys.addaudithook(Hook(asked, counter))
    if asked.files:
        resource.setrlimit(resource.RLIMIT_NOFILE, (asked.files, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
    if asked.memory:
        multiply()
        most = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize() + asked.memory
        resource.setrlimit(resource.RLIMIT_AS, (most, most))
    from mio_local.cli import main

    code: Any = 1
    try:
        main()
    except SystemExit as ended:
        code = ended.code or 0
    except BaseException:
        traceback.print_exc()
    for stream in (sys.stdout, sys.stderr):
        if not stream.closed:
            stream.flush()
    os._exit(code)


def multiply() -> None:
    """Let OpenBLAS have its buffers: where it gets none it asks again for ever."""
    if torch := sys.modules.get("torch"):
        torch.ones(64, 64) @ torch.ones(64, 64)
    if mx := sys.modules.get("mlx.core"):
        mx.eval(mx.ones((64, 64)) @ mx.ones((64, 64)))


def see_through(child: int, asked: Asked) -> int:
    """Wait for a command and signal it when it is due; one that was stopped is told to go on. Its exit code."""
    began, sent = time.monotonic(), False
    while True:
        number, status = os.waitpid(child, os.WUNTRACED | os.WNOHANG)
        passed = time.monotonic() - began
        if number and os.WIFSTOPPED(status):
            time.sleep(0.1)
            os.kill(child, signal.SIGCONT)
        elif number:
            return os.waitstatus_to_exitcode(status)
        elif asked.after and not sent and passed > asked.after:
            os.kill(child, asked.signal)
            sent = True
        elif passed > asked.seconds:
            os.kill(child, signal.SIGKILL)
        else:
            time.sleep(0.005)


def left_of(session: int) -> int:
    """Processes of a session that still run thirty seconds after its leader ended."""
    for _ in range(600):
        found = 0
        for stat in Path("/proc").glob("[0-9]*/stat"):
            try:
                fields = stat.read_text().rpartition(")")[2].split()
            except OSError:
                continue
            found += int(fields[3]) == session and fields[0] != "Z"
        if not found:
            return 0
        time.sleep(0.05)
    return found


def serve(backend: str, counter: Path) -> None:
    """Fork for each line; one command at a time."""
    for name in (*IMPORTS, *OF_MLX * (backend == "mlx")):
        importlib.import_module(name)
    from transformers import AutoTokenizer, PreTrainedTokenizerFast

    assert AutoTokenizer
    assert PreTrainedTokenizerFast
    print("ready", flush=True)
    for line in sys.stdin:
        asked = Asked(**json.loads(line))
        counter.write_text("0")
        began = time.monotonic()
        if not (child := os.fork()):
            be(asked, counter, f"{counter}.out", f"{counter}.err")
        code = see_through(child, asked)
        seconds = time.monotonic() - began
        print(json.dumps(asdict(Ended(code, int(counter.read_text() or 0), seconds, left_of(child)))), flush=True)


if __name__ == "__main__":
    serve(sys.argv[1], Path(sys.argv[2]))
