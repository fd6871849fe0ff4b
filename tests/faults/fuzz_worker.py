"""Runs commands one after the other in one process, as fast as they go: lines of JSON in, lines of JSON out.

    python -m tests.faults.fuzz_worker cuda

A line is the command's words; the answer has `code`, `said` (the end of what it wrote to stderr), `seconds`, and
`peak`, the process's most memory so far in bytes.
"""

import importlib
import io
import json
import os
import resource
import signal
import sys
import time
import traceback
from contextlib import redirect_stderr, redirect_stdout
from typing import Any

from mio_local.cli import main

MOST = 20  # seconds


class TooLong(BaseException):
    """A command took more than `MOST` seconds."""


def end(*_: Any) -> None:
    raise TooLong


def serve() -> None:
    """Answer each line."""
    if sys.argv[1] == "cuda":
        importlib.import_module("peft")  # else the first command that needs no PyTorch hides it from transformers
    answers = os.fdopen(os.dup(1), "w")  # libraries may write to the other
    signal.signal(signal.SIGALRM, end)
    for line in sys.stdin:
        sys.argv = ["mio-local", *json.loads(line)]
        said, began = io.StringIO(), time.monotonic()
        code: Any = 0
        signal.alarm(MOST)
        try:
            with redirect_stdout(io.StringIO()), redirect_stderr(said):
                main()
        except SystemExit as ended:
            code = ended.code or 0
        except TooLong:
            code = "too long"
            traceback.print_exc(file=said)
        except BaseException:
            code = "traceback"
            traceback.print_exc(file=said)
        finally:
            signal.alarm(0)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        seconds = round(time.monotonic() - began, 3)
        print(json.dumps({"code": code, "said": said.getvalue()[-4000:], "seconds": seconds, "peak": peak}),
              file=answers, flush=True)  # fmt: skip


if __name__ == "__main__":
    serve()
