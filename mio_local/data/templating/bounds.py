"""What a template may take: it is a program of strangers, and may go on for ever, or write gigabytes.

It is tried once in a process of its own, with limits on time and memory; later, with a text that nobody tried, a
rendering that goes on for too long is ended from outside. Recursion ends by itself.
"""

import ctypes
import functools
import json
import re
import resource
import subprocess
import sys
import threading
import time
from collections.abc import Generator
from contextlib import contextmanager, suppress
from typing import Any

SECONDS = 5  # of CPU, in the trial; of any later rendering
MEMORY, LONGEST = 2**30, 10**7  # bytes; characters that a conversation of three words may become
LIMITS = {"time": f"does not end within {SECONDS} s", "memory": "takes more than 1 GB of memory",
          "output": f"writes more than {LONGEST:,} characters"}  # fmt: skip
GENERATION = re.compile(r"\{%-?\s*(?:end)?generation\s*-?%\}")  # TRL's mark of what is scored, which writes nothing
ASKED = [{"role": "user", "content": "Q"}]
TRIED = (ASKED, [{"role": "system", "content": "S"}, *ASKED, {"role": "assistant", "content": "A"}, *ASKED])


class TookTooLong(Exception):
    """A rendering was ended from outside."""


@functools.lru_cache(512)
def excess(text: str) -> str:
    """In words which limit a template goes beyond, "" for none. What else is wrong with it is not said here."""
    words = [sys.executable, "-P", "-m", "mio_local.data.templating.bounds"]
    try:
        done = subprocess.run(words, input=text.encode("utf-8", "surrogatepass"), capture_output=True, check=False,
                              timeout=20 * SECONDS)  # fmt: skip
    except subprocess.TimeoutExpired:
        return LIMITS["time"]
    said = done.stdout.decode(errors="replace").strip()
    if done.returncode:  # ended by the system, at a limit
        return LIMITS["memory" if said == "memory" else "time"]
    return LIMITS.get(said, "")


@contextmanager
def within_time() -> Generator[None]:
    """Raises TookTooLong in what takes longer than it may here."""
    watch = _watch()
    watch.begin()
    try:
        yield
    finally:
        watch.end()


class Watch(threading.Thread):
    """Looks once a second whether what began in some thread is over."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self._lock = threading.Lock()
        self._began: dict[int, float] = {}

    def begin(self) -> None:
        self._began[threading.get_ident()] = time.monotonic()

    def end(self) -> None:
        with self._lock:
            self._began.pop(threading.get_ident(), None)

    def run(self) -> None:
        while True:
            time.sleep(1)
            with self._lock:
                for thread, began in list(self._began.items()):
                    if time.monotonic() - began > SECONDS:
                        del self._began[thread]
                        number, end = ctypes.c_ulong(thread), ctypes.py_object(TookTooLong)
                        ctypes.pythonapi.PyThreadState_SetAsyncExc(number, end)


@functools.cache
def _watch() -> Watch:
    watch = Watch()
    watch.start()
    return watch


def main() -> None:
    """In the process that tries: the template on stdin, the name of a limit on stdout."""
    text = GENERATION.sub("", sys.stdin.buffer.read().decode("utf-8", "surrogatepass"))
    from jinja2.ext import loopcontrols
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, SECONDS + 1))
    with suppress(ValueError, OSError):  # macOS does not know it
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))

    def refuse(message: str) -> None:
        raise ValueError(message)

    environment: Any = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True, extensions=[loopcontrols])
    environment.filters["tojson"] = lambda value, **_: json.dumps(value)
    environment.globals["raise_exception"], environment.globals["strftime_now"] = refuse, time.strftime
    try:
        template = environment.from_string(text)
        for messages in TRIED:
            for opens in (False, True):
                if len(_rendered(template, messages, opens)) > LONGEST:
                    print("output")
                    return
    except MemoryError:
        print("memory")
    except Exception:  # which is told where the template is used
        return


def _rendered(template: Any, messages: list[dict[str, str]], opens: bool) -> str:
    try:
        return template.render(messages=messages, add_generation_prompt=opens, tools=None)
    except MemoryError:
        raise
    except Exception:  # some refuse conversations
        return ""


if __name__ == "__main__":
    main()
