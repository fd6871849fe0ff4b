"""Runs unit tests on one answer's code: a JSON line in; out, the number of tests, then + or - for each.

    python -I -B unit_test_process.py SECONDS BYTES

It is started by its path, in a process of its own, and imports nothing of this package. In: {"code", "setup" (texts),
"tests" (a text, or a list of a test each), "entry" (the function that `check(candidate)` is given, or "")}.
"""

import ast
import contextlib
import ctypes
import json
import os
import resource
import signal
import sys
from typing import Any

LARGEST_FILE = 64 << 20  # bytes
NEW_USER, NEW_NET = 0x10000000, 0x40000000  # of Linux's unshare


def main() -> None:
    """Run one answer's tests."""
    seconds, memory = float(sys.argv[1]), int(sys.argv[2])
    asked = json.loads(os.fdopen(os.dup(0), "rb").readline())
    out = os.dup(1)
    null = os.open(os.devnull, os.O_RDWR)
    for number in (0, 1, 2):
        os.dup2(null, number)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    _bound(memory)
    try:
        steps = _steps(asked["tests"], asked["entry"])
    except (SyntaxError, ValueError, MemoryError, RecursionError) as error:
        _tell(out, f"!{type(error).__name__}: {error}\n")
        return
    _tell(out, f"{sum(is_test for _, is_test in steps)}\n")
    names: dict[str, Any] = {"__name__": "answer"}
    for text in asked["setup"]:
        _passes(text, names)
    began = _passes(asked["code"], names)
    for code, is_test in steps:
        passed = _passes(code, names) and began
        if is_test:
            _tell(out, "+" if passed else "-")
    _tell(out, "\n")


def _bound(memory: int) -> None:
    for limit, most in ((resource.RLIMIT_CORE, 0), (resource.RLIMIT_FSIZE, LARGEST_FILE)):
        resource.setrlimit(limit, (most, most))
    if sys.platform.startswith("linux"):
        with contextlib.suppress(OSError, AttributeError):  # no network, where users may have their own namespaces
            ctypes.CDLL(None).unshare(NEW_USER | NEW_NET)
        hard = resource.getrlimit(resource.RLIMIT_AS)[1]
        most = memory if hard == resource.RLIM_INFINITY else min(memory, hard)
        resource.setrlimit(resource.RLIMIT_AS, (most, most))


def _steps(tests: Any, entry: str) -> list[tuple[Any, bool]]:
    """(code, whether it is a test) in their order: each of a list; of a text its asserts, its functions test_..., and
    check(entry), or the whole where it has none of these."""
    if isinstance(tests, list):
        return [(text, True) for text in tests]
    found: list[tuple[Any, bool]] = []
    functions: list[str] = []
    for node in ast.parse(tests).body:
        found.append((compile(ast.Module([node], []), "tests", "exec"), isinstance(node, ast.Assert)))
        if isinstance(node, ast.FunctionDef):
            functions.append(node.name)
    found += [(f"{name}()", True) for name in functions if name.startswith("test")]
    if entry.isidentifier() and "check" in functions:
        found.append((f"check({entry})", True))
    return found if any(is_test for _, is_test in found) else [(tests, True)]


def _passes(code: Any, names: dict[str, Any]) -> bool:
    try:
        exec(compile(code, "answer", "exec") if isinstance(code, str) else code, names)
        return True
    except BaseException:  # SystemExit too
        return False


def _tell(out: int, text: str) -> None:
    os.write(out, text.encode("utf-8", "replace"))


if __name__ == "__main__":
    main()
    os._exit(0)  # threads of the answer may live on
