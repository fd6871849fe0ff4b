"""The judge tests: runs the code in an answer against the tests in its row, each answer in a process of its own.

The tests are the column test, tests or test_list: a list of a test each (MBPP), or a text with asserts, functions
test_..., or check(candidate) beside the column entry_point (HumanEval). The columns test_imports and test_setup_code
run first.
"""

import json
import re
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mio_local.making.answered import Answered, Rewards
from mio_local.making.judging.limited_process import LimitedProcess, Limits, OverLimit, environment
from mio_local.making.judging.plain_judge import Closable, PlainJudge
from mio_local.process import cores
from mio_local.storage.json_files import parse

SCRIPT = Path(__file__).with_name("unit_test_process.py")
COLUMNS, SETUP = ("tests", "test", "test_list"), ("test_imports", "test_setup_code")
FENCE = re.compile(r"^```[ \t]*(\w*)[^\n]*\n(.*?)(?:^```|\Z)", re.DOTALL | re.MULTILINE)
PYTHON = ("python", "py", "python3")
AT_ONCE = 4


class UnitTests(PlainJudge):
    """The share of a row's tests that an answer passes, 1 for all of them; the tests that were not reached in time, or
    in memory, count as failed. Without tests there is no reward.

    The code has no secrets, no terminal, a folder of its own that is deleted afterwards, and on a Linux that lets users
    have namespaces no network. It is no sandbox: it may do what its user may, and an answer that sets out to pretend
    that it passed can.
    """

    def __init__(self, limits: Limits) -> None:
        super().__init__("tests", 1.0)
        self.limits = limits
        self._pool = Closable(max(1, min(AT_ONCE, cores())), "unit-tests")

    def judge(self, answered: Sequence[Answered]) -> list[Rewards]:
        asked = [[self._pool.begin(self._run, *case) for case in self._cases(one)] for one in answered]
        found: list[Rewards] = []
        for one, running in zip(answered, asked, strict=True):
            rewards = [self._counted(self._pool.result(each), one) for each in running]
            found.append(tuple(rewards) if running else (None,) * len(one.answers))
        return found

    def close(self) -> None:
        """Begin no more of them; those that run end in their time."""
        self._pool.close()

    def _cases(self, one: Answered) -> list[tuple[dict[str, Any]]]:
        row = one.asked.row
        tests = next((found for name in COLUMNS if (found := _tests(row.get(name)))), None)
        if not tests:
            self.skip("no tests beside the prompt", one.asked.where, len(one.answers))
            return []
        setup = [text for name in SETUP for text in _texts(row.get(name))]
        entry = row.get("entry_point")
        entry = entry if isinstance(entry, str) else ""
        start = row.get("prompt")
        start = start if isinstance(start, str) and entry else ""
        return [({"code": code_of(answer, entry, start), "setup": setup, "tests": tests, "entry": entry},)
                for answer in one.answers]  # fmt: skip

    def _run(self, case: dict[str, Any]) -> tuple[float | None, str]:
        """(share of the tests that pass, why there is none)."""
        with tempfile.TemporaryDirectory(prefix="mio-local-tests-", ignore_cleanup_errors=True) as folder:
            env = environment(HOME=folder, TMPDIR=folder)
            process = LimitedProcess(SCRIPT, self.limits, isolated=True, env=env, folder=Path(folder))
            passed = b""
            try:
                process.ask(json.dumps(case).encode())
                total = process.answer(self.limits.seconds)
                if not total.isdigit():
                    return None, total.decode("utf-8", "replace").removeprefix("!")
                try:
                    passed = process.answer(self.limits.seconds)
                except OverLimit:  # an endless loop, say
                    passed = process.rest
                return min(1.0, passed.count(b"+") / int(total)), ""
            except OverLimit as over:
                return None, f"their process {over}"
            finally:
                process.close()

    def _counted(self, found: tuple[float | None, str], one: Answered) -> float | None:
        reward, why = found
        if reward is None:
            self.skip("its tests cannot be run", f"{one.asked.where}: {why}")
        return reward


def code_of(answer: str, entry: str = "", start: str = "") -> str:
    """The code in an answer: its last fenced block of Python, else its last one, else all of it; `start`, the head of
    the function `entry`, goes before what does not define it."""
    blocks = FENCE.findall(answer)
    python = [text for language, text in blocks if language.lower() in PYTHON]
    code = (python or [text for _, text in blocks] or [answer])[-1]
    return code if not entry or re.search(rf"\bdef\s+{re.escape(entry)}\b", code) else start + code


def _tests(value: Any) -> str | list[str]:
    """Tests as a text or a list of texts; a list may be written as JSON, as in a CSV file."""
    if isinstance(value, str):
        if value.lstrip().startswith("["):
            try:
                return _texts(parse(value)) or value
            except ValueError:
                pass
        return value if value.strip() else []
    return _texts(value)


def _texts(value: Any) -> list[str]:
    values = [value] if isinstance(value, str) else value
    return [text for text in values if isinstance(text, str) and text.strip()] if isinstance(values, list) else []
