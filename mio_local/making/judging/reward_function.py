"""The judge python:FILE: the function `reward(prompt, answer, row) -> float` of a user's file, in a process of its own.

`prompt` is a text or a list of messages, `answer` a text, `row` the source's columns as JSON has them, other values as
text. What the function prints goes nowhere.
"""

import json
import threading
from collections.abc import Sequence
from pathlib import Path

from mio_local.errors import DataError, MioError
from mio_local.making.answered import Answered, Rewards
from mio_local.making.judging.limited_process import LimitedProcess, Limits, OverLimit
from mio_local.making.judging.plain_judge import CLOSED, PlainJudge
from mio_local.storage.paths import expanded
from mio_local.text import visible_line

SCRIPT = Path(__file__).with_name("reward_process.py")
LOAD = 60.0  # seconds that loading the file may take, at least
IN_A_ROW = 20  # answers by which the process ended before no more are tried


class RewardFunction(PlainJudge):
    """Any finite real number is a reward, and nothing is right or wrong. An answer at which the function raises, hangs,
    eats memory, ends its process, or gives another value has none, and is counted; the process is started again.

    Raises DataError for a file that is not there, does not load, or has no such function; and from `judge` where
    IN_A_ROW answers ended the process.
    """

    def __init__(self, judge: str, file: str, limits: Limits) -> None:
        super().__init__(judge, None)
        self.limits = limits
        self.file = expanded(file, "--judge python:")
        if not self.file.is_file():
            raise DataError(f"--judge {judge}: no such file; it is a Python file with reward(prompt, answer, row)")
        self._ended, self._closed, self._asking = 0, False, threading.Lock()
        self._process: LimitedProcess | None = self._start()

    def judge(self, answered: Sequence[Answered]) -> list[Rewards]:
        with self._asking:
            return [tuple(self._reward(one, answer) for answer in one.answers) for one in answered]

    def close(self) -> None:
        """End the process; a question that it is at ends with a MioError."""
        self._closed = True
        if process := self._process:
            process.kill()
        with self._asking:
            if self._process:
                self._process.close()
                self._process = None

    def _start(self) -> LimitedProcess:
        process = LimitedProcess(SCRIPT, self.limits, [str(self.file)])
        try:
            said = json.loads(process.answer(max(LOAD, self.limits.seconds)))
        except OverLimit as over:
            raise DataError(f"--judge {self.name}: the file {over} as it was loaded") from None
        except BaseException:
            process.close()
            raise
        if "error" in said:
            process.close()
            raise DataError(f"--judge {self.name}: {visible_line(said['error'], 300)}")
        return process

    def _reward(self, one: Answered, answer: str) -> float | None:
        asked = {"prompt": one.asked.prompt, "answer": answer, "row": one.asked.row}
        try:
            line = json.dumps(asked, default=str).encode()
        except (ValueError, TypeError, RecursionError) as error:
            self.skip("its row cannot be given to the function", str(error))
            return None
        if self._closed:
            raise MioError(CLOSED)
        try:
            self._process = self._process or self._start()
            self._process.ask(line)
            said = json.loads(self._process.answer(self.limits.seconds))
        except OverLimit as over:
            return self._over(str(over))
        self._ended = 0
        if "reward" in said:
            return said["reward"]
        self.skip(f"the function {said['reason']}", said["first"])
        return None

    def _over(self, reason: str) -> None:
        if self._process:
            self._process.close()
        self._process = None
        if self._closed:
            raise MioError(CLOSED)
        self._ended += 1
        self.skip(f"the function {reason}")
        if self._ended >= IN_A_ROW:
            raise DataError(f"--judge {self.name}: the function {reason}, and so it went for {IN_A_ROW} answers in a "
                            "row; mend it, or allow it more by make.judge_seconds and make.judge_memory")  # fmt: skip

