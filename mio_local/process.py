"""What a process of ours runs with, as a fast BLAS for MLX on a Linux CPU; and how to call it once more.

MLX's own Linux wheel carries the reference BLAS. Float32 products of 1280 x 144 by 144 x 384, seen on 2 cores on
2026-11-21 (tests/bench/gemm.py): 2.5 GFLOP/s with that, 184 with Debian's OpenBLAS preloaded, 126 with the mkl wheel on
one thread.
"""

import gc
import itertools
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Generator, Sequence
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from mio_local.errors import BackendError, ModelError

PROGRAM = "mio-local"
_claimed: list[bool] = []  # one, in a process of ours
_left_out: list[str] = []
_trusting: list[bool] = []  # one, where remote code may run though a file asked for it
TRUST = "--trust-remote-code"
_TOLD = {TRUST: True, "--no-trust-remote-code": False,
         "model.trust_remote_code=true": True, "model.trust_remote_code=false": False}  # fmt: skip
SWITCH = "MIO_LOCAL_PRELOAD"  # 0 leaves the process alone
ROOM = 512 << 20  # bytes of address space that an array library takes beside the weights, 72 MiB of it a thread
SYSTEM = ("usr/lib/*/openblas-pthread/libopenblas.so.0", "usr/lib64/libopenblasp.so.0", "usr/lib/libopenblas.so.0")


def installing(extra: str = "") -> str:
    """The command that installs this program with an extra, or as it is: from the clone that it came from, as `.` where
    one stands in it or where it is not known any more."""
    where = "."
    clones = _clones()
    with suppress(OSError):  # where one stands was deleted
        where = "." if not clones or Path.cwd().resolve() in clones else str(clones[0])
    kept = "-e " if (Path(__file__).resolve().parents[1] / "pyproject.toml").is_file() else ""  # as it is installed
    return f"pip install {kept}{shlex.quote(f'{where}[{extra}]' if extra else where)}"


def _clones() -> list[Path]:
    """Where this program's source is: beside this package, or in the folder that pip was given (PEP 610)."""
    import importlib.metadata  # here: it takes half of the time until a command's first line

    found = [Path(__file__).resolve().parents[1]]
    with suppress(importlib.metadata.PackageNotFoundError, ValueError, KeyError, TypeError, OSError):
        text = importlib.metadata.distribution(PROGRAM).read_text("direct_url.json")
        url = urlsplit(json.loads(text or "")["url"])
        found += [Path(unquote(url.path))] * (url.scheme == "file")
    return [place for place in found if (place / "pyproject.toml").is_file()]


def fast_library() -> str | None:
    """The system's OpenBLAS, else the mkl wheel's library; None where there is neither, and on other systems."""
    if not sys.platform.startswith("linux"):
        return None
    found = [file for pattern in SYSTEM for file in sorted(Path("/").glob(pattern))]
    found += sorted((Path(sys.prefix) / "lib").glob("libmkl_rt.so*"))
    return str(found[0]) if found else None


def on_gpu(backend: str, device: str) -> bool:
    """Whether these settings leave the work to an NVIDIA GPU, where no BLAS of a CPU's is of use."""
    return backend in ("auto", "cuda") and device != "cpu" and shutil.which("nvidia-smi") is not None


def preload(threads: int = 0) -> None:
    """Start this process again with the fast library preloaded, where there is one and that has not been done.

    `threads` above 0 limits OpenBLAS: products of a small model are over before its threads have met.
    """
    library = fast_library()
    already = os.environ.get("LD_PRELOAD", "")
    if library is None or os.environ.get(SWITCH) == "0" or "openblas" in already or "libmkl_rt" in already:
        return
    os.environ["LD_PRELOAD"] = f"{library}:{already}" if already else library
    os.environ[SWITCH] = "0"
    # one thread and a fixed order of additions: a resumed run must give the same bits
    os.environ.setdefault("MKL_THREADING_LAYER", "SEQUENTIAL")
    os.environ.setdefault("MKL_CBWR", "AUTO,STRICT")
    if threads:
        os.environ.setdefault("OPENBLAS_NUM_THREADS", str(threads))
    os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])


def program(name: str = PROGRAM) -> str:
    """How the shell that started this program can call one that lies beside it: by its name where PATH leads there,
    else by the path as it was typed, `.venv/bin/mio-local` say. What is not there keeps its name, and everything does
    where this one was not started as mio-local."""
    if os.path.basename(sys.argv[0]) != PROGRAM:
        return name
    folder, installed = os.path.dirname(sys.argv[0]), os.path.dirname(sys.executable)
    if name != PROGRAM and os.path.realpath(folder) != os.path.realpath(installed):
        folder = installed  # ours alone may be linked to from another folder
    path = os.path.join(folder, name)
    found = shutil.which(name)
    if not os.path.exists(path) or (found and os.path.realpath(os.path.dirname(found)) == os.path.realpath(folder)):
        return name
    return shlex.quote(path)


def opener() -> str | None:
    """The desktop's program that opens any file or folder; None where there is none."""
    return shutil.which("open" if sys.platform == "darwin" else "xdg-open")


def as_typed(text: str) -> str:
    """A message with the commands of ours in it as `program` says."""
    return re.sub(rf"(?<![\w./-]){PROGRAM}(?= [a-z])", lambda _: program(), text)


def cores() -> int:
    """CPU cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def threads() -> int:
    """CPU threads for PyTorch: a core each, or fewer where OMP_NUM_THREADS or MKL_NUM_THREADS says so."""
    told = [os.environ.get(f"{library}_NUM_THREADS", "").split(",")[0].strip() for library in ("OMP", "MKL")]
    return min([cores(), *(int(number) for number in told if number.isdecimal() and int(number))])


@cache
def _openblas() -> tuple[Any, int]:
    """The preloaded OpenBLAS, and the threads that it began with."""
    import ctypes  # here: the terminal app never needs it

    library: Any = ctypes.CDLL(None) if sys.platform.startswith("linux") else None
    if not hasattr(library, "openblas_set_num_threads"):
        return None, 1
    return library, min(library.openblas_get_num_threads(), cores())


def share_threads(callers: int) -> None:
    """Let `callers` at a time use a preloaded OpenBLAS, each on one thread; a single one on all it began with."""
    library, threads = _openblas()
    if library:
        library.openblas_set_num_threads(threads if callers == 1 else 1)


def most_resident() -> int:
    """Bytes of memory that this process had at most."""
    status = Path("/proc/self/status")
    if status.exists():  # the rusage of a forked process begins at what its parent had
        return int(status.read_text(encoding="ascii").partition("VmHWM:")[2].split()[0]) * 1024
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # bytes on macOS


def check_address_space(folder: Path) -> None:
    """Raise BackendError where `ulimit -v` leaves no room for the weights in `folder`: a native library that is refused
    memory on a thread of its own ends the process without a word, or hangs."""
    try:
        import resource

        used = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0]) * resource.getpagesize()
    except (ImportError, OSError):
        return
    limit = resource.getrlimit(resource.RLIMIT_AS)[0]
    if limit == resource.RLIM_INFINITY:
        return
    # as read from the file, and as placed
    needed = ROOM + 2 * sum(file.stat().st_size for file in folder.glob("*.safetensors"))
    if limit - used < needed:
        raise BackendError(
            f"{folder}: loading it takes {needed >> 20:,} MiB of address space, and the limit leaves "
            f"{max(0, limit - used) >> 20:,}; lift it with: ulimit -v unlimited"
        )


def started(pid: int) -> str:
    """When a process began, in the system's own words: a number is given to another process some day. "" for none."""
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        pass
    words = ["ps", "-o", "lstart=", "-p", str(pid)]
    try:
        return subprocess.run(words, capture_output=True, text=True, timeout=5, check=False).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return ""


def claim() -> None:
    """Say that this process is a command's, or a helper's, and not one that tests or somebody's own code run in: the
    first thing that an entry point does. Remote code is trusted where its command line names that."""
    _claimed[:] = [True]
    if says_trust(sys.argv):
        trust()


def trust() -> None:
    """Let remote code run in this process: the user said so by name."""
    _trusting[:] = [True]


def may_trust() -> bool:
    """Whether settings that ask for remote code may have it. In a claimed process they may come from a file of
    strangers, so the user must have said it again; elsewhere it is somebody's own code that says it."""
    return bool(_trusting) or not _claimed


def check_trust(model: str, asked: bool) -> None:
    """Raise ModelError for remote code that a recipe asks for, and nobody on the command line."""
    if asked and not may_trust():
        raise ModelError(f"{model}: the recipe asks to run Python code of this model's repository "
                         f"(model.trust_remote_code); read that code, then add {TRUST} to the command")  # fmt: skip


def says_trust(words: Sequence[str]) -> bool:
    """Whether a command line names remote code, and does not take it back after that."""
    told = [_TOLD[known] for word in words if (known := word.replace(" ", "").lower()) in _TOLD]
    return bool(told) and told[-1]


def names_judge(judge: str) -> bool:
    """Whether code that a judge is may run: the command line itself names that judge, or all remote code."""
    return may_trust() or _whole(judge) in map(_whole, _judges_named())


def _judges_named() -> list[str]:
    """The judges that the command line names."""
    spelt = ("--judge=", "--set=make.judge=", "make.judge=")
    found = [word.partition(flag)[2] for word in sys.argv for flag in spelt if word.startswith(flag)]
    return found + [judge for flag, judge in itertools.pairwise(sys.argv) if flag == "--judge"]


def _whole(judge: str) -> str:
    """A judge, its file by its whole path: a run's recipe has it so."""
    kind, colon, file = judge.partition(":")
    return f"{kind}:{os.path.realpath(os.path.expanduser(file))}" if colon and kind == "python" else judge


def trust_handed_on() -> list[str]:
    """What the command line of a process of ours ends in, for it to trust remote code as this one was told to."""
    return [TRUST] * says_trust(sys.argv)


def judges_handed_on() -> list[str]:
    """The same for the trainer's process, of judges that are code."""
    return [word for judge in _judges_named() for word in ("--judge", _whole(judge))]


def without(*packages: str) -> None:
    """Let libraries take these packages for not installed, in a process that is claimed: transformers imports PyTorch
    wherever that is, in seconds and 200 MB, for a tokenizer and for mlx-lm too."""
    for package in packages:
        if _claimed and package not in sys.modules:
            sys.modules[package] = None  # pyright: ignore[reportArgumentType] - what blocks an import
            _left_out.append(package)


def with_all() -> None:
    """Give back what was left out, for code that may import anything."""
    while _left_out:
        del sys.modules[_left_out.pop()]


@contextmanager
def uncollected() -> Generator[None]:
    """Let nothing look for unreachable objects meanwhile: the libraries' modules are thousands that stay, and going
    through them again and again is an eighth of the time that importing them takes."""
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()


@contextmanager
def rarely_collected() -> Generator[None]:
    """Look for unreachable objects far less often meanwhile, and not among what is there: of the many that reading and
    tokenising make none is, and to go through them and the libraries' modules was a fifth of the time."""
    before = gc.get_threshold()
    gc.freeze()
    gc.set_threshold(50_000, 50, 100)
    try:
        yield
    finally:
        gc.set_threshold(*before)
        gc.unfreeze()
