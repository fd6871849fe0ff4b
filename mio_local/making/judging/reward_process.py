"""Runs the function `reward` of a user's file: a JSON line in, a JSON line out, the first once the file is loaded.

    python -P -B reward_process.py SECONDS BYTES FILE

It is started by its path, in a process of its own, and imports nothing of this package. The file's own output goes
nowhere; SECONDS after a question the process ends by SIGALRM, though nobody should be left to end it.
"""

import importlib.util
import json
import math
import numbers
import os
import random
import signal
import sys
import traceback
from typing import Any

LOAD = 120.0  # seconds that the file may take to load, at least


def main() -> None:
    """Answer until the questions end."""
    seconds, memory, file = float(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
    questions, answers = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb", 0)
    null = os.open(os.devnull, os.O_RDWR)
    for number in (0, 1, 2):
        os.dup2(null, number)
    bound(memory)
    signal.setitimer(signal.ITIMER_REAL, max(seconds, LOAD))
    try:
        reward, trouble = _load(file)
    except MemoryError:
        reward, trouble = None, "ran out of memory as it was loaded; allow more by make.judge_memory"
    signal.setitimer(signal.ITIMER_REAL, 0)
    _say(answers, {"error": trouble} if trouble else {"ready": True})
    if trouble:
        return
    for line in questions:
        signal.setitimer(signal.ITIMER_REAL, seconds)
        said = _reward(reward, line, file)
        signal.setitimer(signal.ITIMER_REAL, 0)
        _say(answers, said)


def bound(memory: int) -> None:
    """Refuse more than so many bytes, where the system does that: on a Mac it does not, and who started this looks."""
    import resource

    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if sys.platform.startswith("linux"):
        hard = resource.getrlimit(resource.RLIMIT_AS)[1]
        most = memory if hard == resource.RLIM_INFINITY else min(memory, hard)
        resource.setrlimit(resource.RLIMIT_AS, (most, most))


def _load(file: str) -> tuple[Any, str]:
    """The function, or what is wrong with the file."""
    sys.path.insert(0, os.path.dirname(os.path.abspath(file)))  # its neighbours, as where Python runs it
    spec = importlib.util.spec_from_file_location("reward_file", file)
    if spec is None or spec.loader is None:
        return None, "is no Python file; its name must end in .py"
    module = importlib.util.module_from_spec(spec)
    sys.modules["reward_file"] = module
    try:
        spec.loader.exec_module(module)
    except MemoryError:
        raise
    except SyntaxError as error:
        return None, f"line {error.lineno}: {error.msg}"
    except BaseException as error:
        return None, f"{_place(error, file)}{type(error).__name__}: {error}"
    reward = getattr(module, "reward", None)
    return (reward, "") if callable(reward) else (None, "has no function reward(prompt, answer, row)")


def _reward(reward: Any, line: bytes, file: str) -> dict[str, Any]:
    """{"reward": a finite number}, or {"reason": ..., "first": ...}."""
    asked = json.loads(line)
    random.seed(0)  # the same reward whatever was asked before
    try:
        value = reward(asked["prompt"], asked["answer"], asked["row"])
        if isinstance(value, bool) or not isinstance(value, numbers.Real):
            return {"reason": f"returned {_kind(value)}, not a number", "first": ""}
    except MemoryError:
        return {"reason": "ran out of memory", "first": ""}
    except BaseException as error:
        return {"reason": f"raised {type(error).__name__}", "first": f"{_place(error, file)}{error}"[:500]}
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        return {"reason": f"returned {number}", "first": ""}
    return {"reward": number}


def _kind(value: Any) -> str:
    if value is None:
        return "None"
    return "true or false" if isinstance(value, bool) else f"a {type(value).__name__}"


def _place(error: BaseException, file: str) -> str:
    """The last line of the user's file that an error passed."""
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == file]
    return f"line {lines[-1]}: " if lines else ""


def _say(answers: Any, said: dict[str, Any]) -> None:
    try:
        answers.write(json.dumps(said).encode() + b"\n")
    except OSError:  # nobody is left
        os._exit(1)


if __name__ == "__main__":
    main()
    os._exit(0)  # threads of the user's file may live on
