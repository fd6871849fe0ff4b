"""`data make` as it is typed: what it writes, what it refuses, and that a killed one goes on to the same file."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest

from mio_local.cli import run
from mio_local.data.pairs import load_pairs
from mio_local.errors import DataError, MioError
from mio_local.making.make import Maker
from mio_local.recipe import DataSettings
from mio_local.training.reference import Reference
from tests.helpers.backends import BACKENDS, need_library

pytestmark = pytest.mark.slow
PROMPTS = [{"question": f"What is {n} + {n}?", "answer": f"It is {2 * n}.", "level": n} for n in range(6)]


@pytest.fixture
def prompts(tmp_path):
    file = tmp_path / "questions.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in PROMPTS), encoding="utf-8")
    return file


def words(model, prompts, out, backend="mlx", **more):
    given = {"model": model, "prompts": prompts, "out": out, "backend": backend, "device": "cpu", "answers": 8,
             "answer-tokens": 100, "judge": "gold", "set": "make.rows=4", **more}  # fmt: skip
    return ["data", "make", *(f"--{key}={value}" for key, value in given.items())]


@pytest.mark.parametrize("backend", BACKENDS)
def test_killed_at_several_places_it_goes_on_to_the_same_file(backend, tiny_model, prompts, tmp_path):
    """SIGKILL as soon as the work file has so many lines: three chunks of two prompts, answers and rewards of each."""
    need_library(backend)
    whole, killed = tmp_path / "whole.jsonl", tmp_path / "killed.jsonl"
    assert run(words(tiny_model, prompts, whole, backend)) == 0
    work = killed.with_name("killed.jsonl.work")
    program = [sys.executable, "-m", "mio_local.cli", *words(tiny_model, prompts, killed, backend)]
    for lines in (2, 4):
        child = subprocess.Popen(program, stdout=subprocess.DEVNULL, env={**os.environ, "MIO_LOCAL_PRELOAD": "0"})
        while child.poll() is None and (not work.exists() or work.read_bytes().count(b"\n") < lines):
            time.sleep(0.001)
        child.send_signal(signal.SIGKILL)
        assert child.wait() == -signal.SIGKILL
        assert not killed.exists()
    assert run(words(tiny_model, prompts, killed, backend)) == 0
    assert killed.read_bytes() == whole.read_bytes() != b""


def test_what_is_written_is_read_by_train_and_its_reference_known(tiny_model, prompts, tmp_path, capsys, monkeypatch):
    out = tmp_path / "pairs.jsonl"
    assert run(words(tiny_model, prompts, out)) == 0
    shown = capsys.readouterr().out
    lines = out.read_text(encoding="utf-8").split("\n")[:-1]  # U+2028 may stand in an answer
    record = json.loads(lines[0])
    assert (record["prompt"], record["chosen"]) == (PROMPTS[0]["question"], PROMPTS[0]["answer"])
    assert record["rejected"] in record["answers"]
    assert [len(record[key]) for key in ("answers", "rewards", "tokens", "temperatures")] == [8] * 4
    assert (record["judge"], record["seed"], record["model"]) == ("gold", 0, str(tiny_model))
    pairs = load_pairs(str(out), DataSettings())
    assert (len(pairs), pairs.layout) == (len(lines), "text")
    assert (tmp_path / "pairs.jsonl.report.md").read_text().count("### questions.jsonl line") == len(pairs)
    command = shown.rstrip().splitlines()[-1].split()
    assert command[1:3] == ["train", "--model"]
    computed: list[int] = []
    logps = Reference.logps

    def spied(self, batch, examples):
        try:
            return logps(self, batch, examples)
        finally:
            computed.append(self.computed)

    monkeypatch.setattr(Reference, "logps", spied)
    assert run([*command[1:], "--runs", str(tmp_path / "runs"), "--set", "eval.sample_tokens=0"]) == 0
    assert len(computed) > 1
    assert set(computed) == {0}


def test_an_interrupt_writes_what_is_there_and_it_goes_on(tiny_model, prompts, tmp_path, monkeypatch, capsys):
    whole, out = tmp_path / "whole.jsonl", tmp_path / "pairs.jsonl"
    assert run(words(tiny_model, prompts, whole)) == 0
    ran = Maker.run

    def until_the_second(self, report):
        def told(progress):
            if progress.answers > 16:
                raise KeyboardInterrupt
            report(progress)

        ran(self, told)

    with monkeypatch.context() as patch:
        patch.setattr(Maker, "run", until_the_second)
        with pytest.raises(KeyboardInterrupt):
            run(words(tiny_model, prompts, out))
    assert "2 of 6 prompts done" in capsys.readouterr().out
    assert whole.read_text().startswith(out.read_text())
    assert run(words(tiny_model, prompts, out)) == 0
    assert out.read_bytes() == whole.read_bytes()


def test_what_is_refused_and_leaves_all_as_it_was(tiny_model, prompts, tmp_path):
    out = tmp_path / "pairs.jsonl"
    run(words(tiny_model, prompts, out))
    made = out.read_bytes()
    with pytest.raises(MioError, match=r"pairs.jsonl.work: .* temperature 1.0, not 0.7; .*--force"):
        run(words(tiny_model, prompts, out, temperature=0.7))
    out.write_bytes(made + b"{}\n")
    with pytest.raises(MioError, match=r"pairs.jsonl: is there, and is not what was made here; .*--force"):
        run(words(tiny_model, prompts, out))
    assert out.read_bytes() == made + b"{}\n"
    assert run([*words(tiny_model, prompts, out), "--force"]) == 0
    assert out.read_bytes() == made
    with pytest.raises(DataError, match="no prompt makes a pair"):
        run(words(tiny_model, prompts, tmp_path / "none.jsonl", judge="exact"))
    assert not (tmp_path / "none.jsonl").exists()
    with pytest.raises(MioError, match=r"--out .*\.csv: .*\.jsonl"):
        run(words(tiny_model, prompts, tmp_path / "pairs.csv"))
