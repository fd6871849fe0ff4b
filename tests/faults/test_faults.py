"""Whatever dies goes on: each command under each fault ends in one line at worst, loses nothing, and works again."""

import json
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import pytest

from mio_local.backends import installed
from tests.faults.commands import COMMANDS, Command, Made
from tests.faults.faults import Fault, cases
from tests.faults.fork_server import Asked, Ended
from tests.helpers.backends import need_library
from tests.helpers.hub_server import HubStand

ROOT = Path(__file__).resolve().parents[2]
pytestmark = [pytest.mark.slow, pytest.mark.skipif(not sys.platform.startswith("linux"), reason="/proc and tmpfs")]
RUST = "memory allocation of"  # its own line: tokenizers' Rust ends the process where it gets none
HALF = re.compile(r"\.\d+$|building|\.old$|\.incomplete$")  # what is written beside its place


@dataclass(frozen=True)
class Undisturbed:
    """A command where nothing is wrong: how it ended, what it made, and bytes that it added."""

    ended: Ended
    made: Made
    grown: int


@dataclass
class Bench:
    """A fork server, the folder that its cases begin as, and what each command makes where nothing is wrong."""

    backend: str
    base: Path
    server: subprocess.Popen[str]
    environ: dict[str, str]
    known: dict[str, Undisturbed] = field(default_factory=dict)

    def do(self, place: Path, words: list[str], **more: Any) -> Ended:
        environ = self.environ | {"MIO_LOCAL_RUNS": str(place / "runs"), "MIO_LOCAL_CACHE": str(place / "cache")}
        asked = Asked(words, environ, str(place), str(self.base / "ask.txt"), **more)
        assert self.server.stdin
        assert self.server.stdout
        self.server.stdin.write(json.dumps(asdict(asked)) + "\n")
        self.server.stdin.flush()
        return Ended(**json.loads(self.server.stdout.readline()))

    def said(self) -> str:
        return (self.base.parent / "counter.err").read_text(errors="replace")

    def case(self) -> Path:
        """An empty folder, always of the same path: the hub's client knows only where its cache was at first."""
        place = self.base.parent / "case"
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir()
        return place

    def lay_out(self, place: Path, command: Command) -> None:
        """What a case begins with."""
        for name in ("runs", "cache"):
            if (self.base / name).exists() and not (name == "cache" and command.cold):
                shutil.copytree(self.base / name, place / name)

    def undisturbed(self, command: Command) -> Undisturbed:
        if command.name not in self.known:
            place = self.case()
            self.lay_out(place, command)
            before = size_of(place)
            ended = self.do(place, command.words(command.argv, self.base, self.backend))
            assert ended.code == 0, self.said()
            self.known[command.name] = Undisturbed(ended, command.made(place), max(0, size_of(place) - before))
        return self.known[command.name]


def size_of(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())


@pytest.fixture(scope="module", params=installed())
def bench(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, tiny_model: Path, tiny_pairs: Path
) -> Iterator[Bench]:
    need_library(request.param)
    base = tmp_path_factory.mktemp("faults") / "base"
    shutil.copytree(tiny_model, base / "model")
    shutil.copy(tiny_pairs, base / "pairs.jsonl")
    (base / "ask.txt").write_text("Hi\n")
    with ExitStack() as stack:
        hub = stack.enter_context(HubStand({"org/tiny": base / "model"}))
        environ = hub.environment(base.parent / "case/hub") | {
            "MIO_LOCAL_PRELOAD": "0", "HF_HUB_DISABLE_PROGRESS_BARS": "1", "TMPDIR": str(base.parent)
        }
        server = stack.enter_context(
            subprocess.Popen(
                [sys.executable, "-m", "tests.faults.fork_server", request.param, str(base.parent / "counter")],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT, env=environ,
            )
        )  # fmt: skip
        stack.callback(server.kill)
        assert server.stdout
        assert server.stdout.readline() == "ready\n"
        made = Bench(request.param, base, server, environ)
        train = COMMANDS["train"]
        words = train.words(train.argv, base, request.param)
        for name, nth in (("whole", 0), ("left", 90)):
            ended = made.do(base, [name if word == "new" else word for word in words], nth=nth, signal=9 if nth else 0)
            assert ended.code == (-9 if nth else 0), made.said()
        assert (base / "runs/left/checkpoints/step-000002").is_dir()
        yield made


@cases(on_each_backend=True)
def test_a_fault_is_one_line_and_nothing_is_lost(
    bench: Bench, name: str, fault: Fault, request: pytest.FixtureRequest
) -> None:
    one_line_and_nothing_lost(bench, name, fault, request)


@pytest.mark.parametrize("bench", installed()[:1], indirect=True)
@cases(on_each_backend=False)
def test_so_it_is_with_a_command_that_one_backend_stands_for(
    bench: Bench, name: str, fault: Fault, request: pytest.FixtureRequest
) -> None:
    one_line_and_nothing_lost(bench, name, fault, request)


def one_line_and_nothing_lost(bench: Bench, name: str, fault: Fault, request: pytest.FixtureRequest) -> None:
    """Try a command under a fault, undo the fault, and go on with the command."""
    command = COMMANDS[name]
    usual = bench.undisturbed(command)
    place = bench.case()
    if fault.place:
        mount(place, request)
    bench.lay_out(place, command)
    before = {file: file.read_bytes() if file.is_file() else b"" for file in place.rglob("*")}
    words = command.words(command.argv, bench.base, bench.backend)

    ended = bench.do(place, words, **strike(fault, usual, command, place))
    said = bench.said()
    check_words(ended, said, fault)
    undo(fault, command, place, bench.base)
    made = command.made(place)
    run = place / "runs" / command.run
    if not (command.trains and run.exists() and not is_done(run)):  # one that stopped has its adapter too
        assert made.items() <= usual.made.items(), f"half-written, under its final name; {said}"
        assert ended.code or made == usual.made, said
    lost = [file for file, known in before.items() if known and not (file.is_file() and holds(file, known))]
    assert all(is_its_own(file.relative_to(place), command) for file in lost), lost

    following = words
    if command.again and run.exists():
        following = command.words(command.again, bench.base, bench.backend)
    if not (following[0] == "resume" and is_done(run)):
        shutil.rmtree(place / "runs/whole/exports", ignore_errors=True)  # which would be taken
        again = bench.do(place, following)
        assert again.code == 0, (said, bench.said())
    missing = set(usual.made.values()) - set(command.made(place).values())  # a second demo gives its runs other names
    assert not missing, f"other than undisturbed; {said}"
    half = [file for file in place.rglob(".*") if file not in before and HALF.search(file.name)]
    assert not [file for file in half if not again_of(file.parent).exists()]  # no one went on with these runs


def again_of(run: Path) -> Path:
    """The run that a second demo makes beside one of a killed demo."""
    return run.with_name(f"{run.name}-2")


def check_words(ended: Ended, said: str, fault: Fault) -> None:
    """How a command may end: as it should, in one line, or by the signal."""
    number = fault.asked.get("signal", 0)
    aborted = "memory" in fault.asked and RUST in said
    allowed = [-signal.SIGABRT] if aborted else [0, 2, *([-number, 128 + number] if number else [])]
    assert ended.code in allowed, (ended, said)
    assert "Traceback" not in said, said
    if ended.code == 2:
        assert len(re.findall("^mio-local: ", said, re.MULTILINE)) == 1, said
        assert said.splitlines()[-1].startswith("mio-local: "), said
    assert not ended.left, "processes are left"


def holds(file: Path, known: bytes) -> bool:
    """Whether a file is as it was; events may be added, and the verdict that they make."""
    content = file.read_bytes()
    if file.name == "events.jsonl":
        return content.startswith(known)
    return content == known or (file.name == "status.json" and of_its_run(content) == of_its_run(known))


def of_its_run(status: bytes) -> dict[str, Any]:
    """What a status.json says of the run itself."""
    said: dict[str, Any] = json.loads(status)
    return {key: value for key, value in said.items() if key != "verdict"}


def is_its_own(file: Path, command: Command) -> bool:
    """Whether a command may change a file that was there: a cache, and the run that it trains."""
    return file.parts[0] == "cache" or (command.trains and file.parts[:2] == ("runs", command.run))


def is_done(run: Path) -> bool:
    status = run / "status.json"
    return status.exists() and json.loads(status.read_text())["state"] == "done"


def strike(fault: Fault, usual: Undisturbed, command: Command, place: Path) -> dict[str, Any]:
    """Bring the fault about, or say so to the fork server."""
    asked = dict(fault.asked)
    if "signal" in asked and not command.writes:
        return asked | {"after": fault.at * usual.ended.seconds}
    if fault.place == "read-only":
        subprocess.run(["mount", "-o", "remount,ro", str(place)], check=True)
        return asked
    if fault.place == "full":
        free = shutil.disk_usage(place).free - int(fault.at * usual.grown) - 4096
        (place / "filled").write_bytes(bytes(free))
        return asked
    if fault.run:
        asked["move"] = [str(place / "runs" / command.run), str(place / "away")]
    return asked | {"nth": max(1, round(fault.at * usual.ended.changes))}


def undo(fault: Fault, command: Command, place: Path, base: Path) -> None:
    """Let the machine be as it should again."""
    run, away = place / "runs" / command.run, place / "away"
    if fault.place == "read-only":
        subprocess.run(["mount", "-o", "remount,rw", str(place)], check=True)
    (place / "filled").unlink(missing_ok=True)
    if away.exists():
        assert not run.exists(), f"where the run had been, there is {list(run.rglob('*'))}"
        if fault.run == "moved":
            away.rename(run)
        else:
            shutil.rmtree(away)
            if (base / "runs" / command.run).exists():
                shutil.copytree(base / "runs" / command.run, run)


def mount(place: Path, request: pytest.FixtureRequest) -> None:
    """A file system of its own; the test skips where none may be made."""
    words = ["mount", "-t", "tmpfs", "-o", "size=16m", "none", str(place)]
    if subprocess.run(words, check=False, capture_output=True).returncode:
        pytest.skip("no file system may be mounted here")
    request.addfinalizer(lambda: subprocess.run(["umount", "-l", str(place)], check=True))
