"""The other side of `child`: a process that answers JSON lines on stdin with JSON lines on stdout."""

import contextlib
import json
import logging
import os
import threading
import traceback
import warnings
from collections.abc import Callable
from queue import SimpleQueue
from typing import IO, Any

from mio_local.errors import MioError, one_line
from mio_local.text import visible_line

Answer = dict[str, Any]
Lines = SimpleQueue[bytes]
Send = Callable[[Answer], None]
QUIET = ("HF_HUB_DISABLE_PROGRESS_BARS", "HF_DATASETS_DISABLE_PROGRESS_BARS", "TQDM_DISABLE")


def fields_of(line: bytes) -> dict[str, Any]:
    """A line of stdin as the fields of a request; none for one that is no JSON object."""
    try:
        fields = json.loads(line)
    except (ValueError, RecursionError):
        return {}
    return fields if isinstance(fields, dict) else {}


def answered(name: str, make: Callable[[], Answer]) -> Answer:
    """What `make` answers, or its error as one line; `name` is what failed where that is a bug of ours."""
    try:
        return make()
    except MioError as error:
        return {"error": visible_line(str(error))}
    except BrokenPipeError:
        raise
    except Exception as error:
        traceback.print_exc()
        return {"error": visible_line(f"{name} failed: {type(error).__name__}: {one_line(error)}")}


def serve(server: Callable[[Lines, Send], None]) -> None:
    """Run `server` on the lines of stdin until that closes. What a library prints goes nowhere, and none can read from
    stdin."""
    requests, answers = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    with open(os.devnull, "r+b") as nowhere:
        os.dup2(nowhere.fileno(), 0)
        os.dup2(nowhere.fileno(), 1)
    for name in QUIET:
        os.environ[name] = "1"
    warnings.simplefilter("ignore")
    logging.disable()

    def send(answer: Answer) -> None:
        answers.write(json.dumps(answer).encode() + b"\n")
        answers.flush()

    lines = Lines()
    threading.Thread(target=_read, args=(requests, lines), daemon=True).start()
    with contextlib.suppress(BrokenPipeError):
        server(lines, send)
    os._exit(0)


def _read(requests: IO[bytes], lines: Lines) -> None:
    try:
        for line in requests:
            lines.put(line)
    finally:
        os._exit(0)  # at once, even from the middle of a download or an answer: nobody is there to read it
