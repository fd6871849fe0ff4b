"""Unit tests on an answer's code: the shares, the forms that rows have, and what code may not do."""

import json
import socket
import sys
from pathlib import Path
from typing import Any

import pytest

from mio_local.learning import MakeSettings
from mio_local.making.answered import Answered, Asked, Rewards
from mio_local.making.judging.choose import judge_of
from mio_local.making.judging.unit_tests import UnitTests, code_of

DOUBLES = ["assert twice(1) == 2", "assert twice(0) == 0", "assert twice('a') == 'aa'", "assert twice(3) == 6"]
# the shapes of google-research-datasets/mbpp and openai/openai_humaneval
MBPP = {"text": "Write it.", "test_list": DOUBLES, "test_setup_code": "", "test_imports": ["import math"]}
HUMAN = {
    "prompt": "def twice(x):\n    '''Two of it.'''\n", "entry_point": "twice",
    "test": "METADATA = {}\n\ndef check(candidate):\n    " + "\n    ".join(DOUBLES).replace("twice", "candidate"),
}  # fmt: skip
RIGHT = "def twice(x):\n    return x + x\n"


def rewards_of(row: dict[str, Any], *answers: str, **more: Any) -> tuple[Rewards, dict[str, int]]:
    judge = judge_of(MakeSettings(judge="tests", judge_memory="400MB", **more), trusted=True)
    rewards = judge.judge([Answered(Asked("Q", None, "here line 1", row), answers, (False,) * len(answers))])
    judge.close()
    return rewards[0], judge.unjudged


def test_the_reward_is_the_share_of_the_tests_that_pass() -> None:
    answers = {
        RIGHT: 1.0, "def twice(x):\n    return 2 if x == 1 else 0\n": 0.5, "def twice(x): return 7": 0.0, "twice(": 0.0,
        "": 0.0, "def once(x): return x": 0.0, f"{RIGHT}raise ValueError": 0.0, "import sys; sys.exit(0)": 0.0,
        "import os; os._exit(0)": 0.0, f"{RIGHT}\nbytearray(10 ** 10)": 0.0,
        "import os\ndef twice(x):\n    return x + x if x in (0, 1) else os._exit(0)": 0.5,
        "def twice(x):\n    while x == 'a': pass\n    return x + x\n": 0.5, "input()": 0.0,
        f"import threading, time\nthreading.Thread(target=time.sleep, args=[1000]).start()\n{RIGHT}": 1.0,
        f"print('+' * 10 ** 6)\n{RIGHT}": 1.0,
    }  # fmt: skip
    rewards, unjudged = rewards_of(MBPP, *answers, judge_seconds=1.0)
    assert dict(zip(answers, rewards, strict=True)) == answers
    assert unjudged == {}


@pytest.mark.parametrize(("row", "right", "half"), [
    (MBPP, RIGHT, "def twice(x): return 2 * (x == 1)"),
    (HUMAN, RIGHT, None), (HUMAN, "    return x + x\n", None), (HUMAN, f"So:\n```python\n{RIGHT}```\n", None),
    ({"tests": "\n".join(DOUBLES)}, RIGHT, "def twice(x): return 2 * (x == 1)"),
    ({"tests": json.dumps(DOUBLES)}, RIGHT, "def twice(x): return 2 * (x == 1)"),
    ({"test": "def test_one():\n    assert twice(1) == 2\ndef test_a():\n    assert twice('a') == 'aa'\n"}, RIGHT,
     "def twice(x): return 2"),
    ({"test": "if twice(1) != 2:\n    raise ValueError\n"}, RIGHT, None),
    ({"tests": ["assert twice(one) == 2"], "test_setup_code": "one = 1"}, RIGHT, None),
])  # fmt: skip
def test_the_forms_of_the_tests(row: dict[str, Any], right: str, half: str | None) -> None:
    wrong = "def twice(x):\n    return 'no'\n"
    rewards, unjudged = rewards_of(row, right, wrong, *([half] if half else []))
    assert rewards == (1.0, 0.0, *([0.5] if half else []))
    assert unjudged == {}


def test_without_tests_there_is_no_reward() -> None:
    for row, why in (({}, "no tests beside the prompt"), ({"tests": []}, "no tests"), ({"tests": 3}, "no tests"),
                     ({"tests": "assert ("}, "cannot be run (the first: here line 1: SyntaxError")):  # fmt: skip
        rewards, unjudged = rewards_of(row, RIGHT, "x")
        assert rewards == (None, None)
        assert list(unjudged.values()) == [2]
        assert why in next(iter(unjudged))


@pytest.mark.parametrize(("answer", "code"), [
    ("a = 1", "a = 1"), ("So:\n```python\na = 1\n```\nor\n```py\na = 2\n```\nrun\n```bash\nls\n```", "a = 2\n"),
    ("```\na = 1\n```", "a = 1\n"), ("```python\na = 1", "a = 1"), ("```\none\n```\n```text\ntwo\n```", "two\n"),
    ("``` python3\na = '```'\n```", "a = '```'\n"),
])  # fmt: skip
def test_the_code_of_an_answer(answer: str, code: str) -> None:
    assert code_of(answer) == code


def test_code_sees_no_secret_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HF_TOKEN", "hidden-word")
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    code = ("import os, sys\nprint('seen'); print('seen', file=sys.stderr); os.system('echo seen')\n"
            "seen = 'hidden-word' in ''.join(os.environ.values())\n"
            "open('left', 'w').write('x'); os.chdir(os.path.expanduser('~')); there = os.path.exists('left')\n"
)  # fmt: skip
    assert rewards_of({"tests": ["assert not seen", "assert there"]}, code)[0] == (1.0,)
    assert list(tmp_path.iterdir()) == []
    assert capfd.readouterr() == ("", "")


def test_code_reaches_no_network_where_the_system_can_hold_it() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        holds = "import ctypes\nassert ctypes.CDLL(None).unshare(0x50000000) == 0"
        if not sys.platform.startswith("linux") or rewards_of({"tests": [holds]}, "")[0] != (1.0,):
            pytest.skip("this system gives users no network namespaces of their own")
        code = f"import socket\nsocket.create_connection(('127.0.0.1', {port}), 1)\nx = 1"
        assert rewards_of({"tests": ["assert x"]}, code)[0] == (0.0,)


def test_it_can_be_closed_twice() -> None:
    judge = judge_of(MakeSettings(judge="tests"), trusted=True)
    assert isinstance(judge, UnitTests)
    judge.close()
    judge.close()
