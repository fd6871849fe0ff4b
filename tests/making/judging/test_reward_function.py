"""A file's reward function: what it gives, what it may do, and that it runs nowhere but in a process that is ended."""

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import psutil
import pytest

from mio_local import process
from mio_local.errors import DataError, MioError, RecipeError
from mio_local.learning import MakeSettings
from mio_local.making.answered import Answered, Asked, Judge
from mio_local.making.judging import reward_function
from mio_local.making.judging.choose import judge_of, may_run

REWARDS = {  # an answer and what the function does with it: the reward
    "len(answer)": 11.0, "-2": -2.0, "0.5": 0.5, "__import__('numpy').float32(0.25)": 0.25,
    "__import__('numpy').int64(3)": 3.0,
    "fractions.Fraction(1, 2)": 0.5, "row['n'] + len(prompt)": 8.0,
}  # fmt: skip
NONE = {  # the same: why there is none
    "None": "returned None, not a number", "True": "returned true or false, not a number",
    "'1'": "returned a str, not a number", "float('nan')": "returned nan", "-float('inf')": "returned -inf",
    "[1]": "returned a list, not a number", "__import__('numpy').bool_(1)": "returned a bool, not a number",
    "10 ** 400": "returned inf",
    "1 / 0": "raised ZeroDivisionError (the first: line 3: division by zero)", "sys.exit(0)": "raised SystemExit (",
    "bytearray(10 ** 10)": "ran out of memory", "os._exit(3)": "(exit code 3)",
    "os.kill(os.getpid(), 11)": "ended its process (signal 11)", "time.sleep(1000)": "took over 1 s",
}  # fmt: skip
EVAL = """import fractions, os, sys, time
def reward(prompt, answer, row):
    return eval(answer)
"""


def written(folder: Path, text: str) -> Path:
    file = folder / "reward.py"
    file.write_text(text, encoding="utf-8")
    return file


def judged(file: Path, *, trusted: bool = True, **more: Any) -> Judge:
    settings: dict[str, Any] = {"judge_seconds": 1.0, "judge_memory": "500MB"} | more
    return judge_of(MakeSettings(judge=f"python:{file}", **settings), trusted=trusted)


def asked(*answers: str, row: dict[str, Any] | None = None) -> list[Answered]:
    return [Answered(Asked("Q", None, "here line 1", row or {}), answers, (False,) * len(answers))]


def test_real_numbers_are_rewards_and_all_else_is_counted_by_its_reason(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    judge = judged(written(tmp_path, EVAL + "print('loaded')\n"))
    cases = {**REWARDS, **dict.fromkeys(NONE)}
    rewards = judge.judge(asked(*cases, row={"n": 7}))
    assert rewards == [tuple(cases.values())]
    assert sum(judge.unjudged.values()) == len(NONE)
    for why in NONE.values():
        assert any(why in reason for reason in judge.unjudged), why
    quick = [answer for answer in reversed(cases) if "time" not in answer and "import" not in answer]
    assert judge.judge(asked(*quick, row={"n": 7})) == [tuple(cases[answer] for answer in quick)]
    assert judge.threshold is None
    judge.close()
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(("text", "words"), [
    ("def reward(a, b, c:\n", "line 1: "), ("def other(): pass\n", "has no function reward(prompt, answer, row)"),
    ("reward = 3\n", "has no function reward"), ("\nimport nowhere_at_all\n", "line 2: ModuleNotFoundError"),
    ("raise SystemExit\n", "line 1: SystemExit"), ("import os; os._exit(4)\n", "ended its process (exit code 4)"),
    ("x = bytearray(10 ** 10)\n", "ran out of memory"), ("\x00", "line "),
])  # fmt: skip
def test_a_file_that_cannot_reward_is_told_at_once_in_one_line(tmp_path: Path, text: str, words: str) -> None:
    file = written(tmp_path, text)
    with pytest.raises(DataError) as told:
        judged(file)
    assert words in str(told.value)
    assert str(told.value).startswith(f"--judge python:{file}: ")
    assert "\n" not in str(told.value)
    assert sorted(tmp_path.iterdir()) == [file]


def test_what_cannot_be_run_is_told(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such file"):
        judged(tmp_path / "nowhere.py")
    (tmp_path / "reward.txt").write_text(EVAL, encoding="utf-8")
    with pytest.raises(DataError, match=r"must end in \.py"):
        judged(tmp_path / "reward.txt")
    with pytest.raises(RecipeError, match="must be a size as 1GB"):
        judged(written(tmp_path, EVAL), judge_memory="plenty")


def test_nothing_runs_that_the_command_line_does_not_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = written(tmp_path, f"open({str(tmp_path / 'ran')!r}, 'w')\n{EVAL}")
    settings = MakeSettings(judge=f"python:{file}")
    monkeypatch.setattr(process, "_claimed", [True])
    for words in ([], ["--judge", "python:other.py"], ["--judge", "tests"], [f"python:{file}"], ["--trust-remote"]):
        monkeypatch.setattr(sys, "argv", ["mio-local", "data", "make", *words])
        assert not may_run(settings)
    with pytest.raises(RecipeError, match="name it on the command line: --judge python:") as told:
        judge_of(settings, trusted=may_run(settings))
    assert "\n" not in str(told.value)
    assert not (tmp_path / "ran").exists()
    with pytest.raises(RecipeError, match="name it on the command line: --judge tests"):
        judge_of(MakeSettings(judge="tests"), trusted=False)
    name = settings.judge
    key = f"make.judge={name}"
    for words in (["--judge", name], [f"--judge={name}"], ["--set", key], [f"--set={key}"]):
        monkeypatch.setattr(sys, "argv", ["mio-local", "data", "make", *words])
        assert may_run(settings)
    judge_of(settings, trusted=True).close()
    assert (tmp_path / "ran").exists()


def test_the_function_sees_no_secret_and_its_neighbours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    secrets = ("HF_TOKEN", "OPENAI_API_KEY", "MIO_LOCAL_JUDGE_KEY", "AWS_SECRET_ACCESS_KEY", "WANDB_API_KEY", "MY_PASS")
    for name in secrets:
        monkeypatch.setenv(name, "hidden-word")
    (tmp_path / "beside_reward.py").write_text("VALUE = 7\n", encoding="utf-8")
    text = "import beside_reward, os\ndef reward(prompt, answer, row):\n    return eval(answer)\n"
    judge = judged(written(tmp_path, text))
    hidden = "sum('hidden-word' in word for word in [*os.environ.values(), open('/proc/self/cmdline').read()])"
    hidden = hidden if Path("/proc/self/cmdline").exists() else "sum('hidden-word' in v for v in os.environ.values())"
    assert judge.judge(asked(hidden, "beside_reward.VALUE", "'PATH' in os.environ and 1")) == [(0.0, 7.0, 1.0)]
    judge.close()
    assert sorted(file.name for file in tmp_path.iterdir()) == ["beside_reward.py", "reward.py"]


CHILDREN = """import subprocess, sys, time
def reward(prompt, answer, row):
    for own in (False, True):
        subprocess.Popen([sys.executable, "-c", "import time; time.sleep(1000)", row["mark"]], start_new_session=own)
    if answer == "return":
        return 1
    time.sleep(1000)
"""


@pytest.mark.parametrize("answer", ["hang", "return"])
def test_its_children_end_with_it(tmp_path: Path, answer: str) -> None:
    judge = judged(written(tmp_path, CHILDREN))
    mark = str(tmp_path / "mark")
    judge.judge(asked(answer, row={"mark": mark}))
    judge.close()
    left = [one for one in psutil.process_iter(["cmdline"]) if mark in (one.info["cmdline"] or [])]
    psutil.wait_procs(left, timeout=5)
    assert [one for one in left if one.is_running() and one.status() != psutil.STATUS_ZOMBIE] == []


def test_memory_is_counted_with_that_of_its_children(tmp_path: Path) -> None:
    """As on a Mac, where the system bounds no process: each of these stays under the limit."""
    text = ("import os, time\ndef reward(prompt, answer, row):\n    for _ in range(3):\n        if not os.fork():\n"
            "            held = b'x' * 80_000_000\n            time.sleep(1000)\n    time.sleep(1000)\n")  # fmt: skip
    judge = judged(written(tmp_path, text), judge_memory="150MB", judge_seconds=60.0)
    assert judge.judge(asked("a")) == [(None,)]
    assert judge.unjudged == {"the function took over 0.15 GB of memory": 1}
    judge.close()


def test_a_function_that_always_ends_its_process_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reward_function, "IN_A_ROW", 3)
    judge = judged(written(tmp_path, EVAL))
    assert judge.judge(asked(*["os._exit(1)"] * 2, "1", *["os._exit(1)"] * 2)) == [(None, None, 1.0, None, None)]
    with pytest.raises(DataError, match="3 answers in a row"):
        judge.judge(asked("os._exit(1)"))
    judge.close()


def test_a_row_that_is_no_json_is_given_as_text_or_counted(tmp_path: Path) -> None:
    judge = judged(written(tmp_path, EVAL))
    deep: list[Any] = []
    for _ in range(100_000):
        deep = [deep]
    assert judge.judge(asked("row['path'] == '/a' and 1", row={"path": Path("/a")})) == [(1.0,)]
    assert judge.judge(asked("1", row={"deep": deep})) == [(None,)]
    assert list(judge.unjudged.values()) == [1]
    judge.close()
    while deep:  # else freeing it recurses
        deep = deep[0]


def test_closed_while_it_is_asked(tmp_path: Path) -> None:
    judge = judged(written(tmp_path, EVAL))
    judge.close()
    with pytest.raises(MioError, match="closed"):
        judge.judge(asked("1"))


def test_the_process_ends_by_itself_where_nobody_is_left(tmp_path: Path) -> None:
    file = written(tmp_path, EVAL)
    words = [sys.executable, "-P", "-B", str(reward_function.SCRIPT), "0.3", str(10**9), str(file)]
    for question, ending in ((b'{"prompt": "", "answer": "time.sleep(1000)", "row": {}}\n', -signal.SIGALRM), (b"", 0)):
        with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=dict(os.environ)) as started:
            assert started.stdin
            started.stdin.write(question)
            started.stdin.flush()
            if not question:
                started.stdin.close()
            assert started.wait(20) == ending
