"""Greedy text of a GGUF file beside the app's: what is said of it, and llama.cpp's own, where that is installed."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from mio_local.cli import run
from mio_local.evaluation.loading import of_run
from mio_local.export.apps.greedy import PROMPTS, TOKENS, Agreement, conversation_of
from mio_local.models.locate import end_ids
from mio_local.runs.directory import Run
from tests.helpers.backends import backend_of
from tests.helpers.exporting import train, write_checked
from tests.helpers.tiny_model import write_tiny_model

pytest.importorskip("gguf")
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning", "ignore::FutureWarning")

STAND_IN = """
import json, os
__version__ = "9.9"
PROMPTS, ANSWERS = (json.loads(os.environ[name]) for name in ("PROMPTS", "ANSWERS"))
class Llama:
    def __init__(self, path, **settings):
        {begin}
        open(os.environ["ASKED"], "w").write(json.dumps([path, settings["lora_path"]]))
    def tokenize(self, text, add_bos, special):
        return PROMPTS.pop(0)
    def reset(self):
        pass
    def generate(self, ids, temp, repeat_penalty):
        assert (temp, repeat_penalty) == (0.0, 1.0)
        return iter(ANSWERS.pop(0))
"""


@pytest.fixture(scope="module")
def trained(tiny_pairs, tmp_path_factory):
    folder = tmp_path_factory.mktemp("greedy")
    base = write_tiny_model(folder / "base")
    return train(folder / "runs", base, tiny_pairs, "cuda", "r", "--steps", "1", "--learning-rate", "1e-5")


@pytest.fixture
def stand_in(tmp_path, monkeypatch):
    """Puts a llama_cpp that answers what it is told in front of this process and its children."""

    def put(prompts, answers, begin="pass"):
        (tmp_path / "llama_cpp.py").write_text(STAND_IN.format(begin=begin))
        monkeypatch.syspath_prepend(str(tmp_path))
        monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), *sys.path]))
        monkeypatch.setenv("PROMPTS", json.dumps(prompts))
        monkeypatch.setenv("ANSWERS", json.dumps(answers))
        monkeypatch.setenv("ASKED", str(tmp_path / "asked.json"))

    return put


def export(trained, *words):
    return run(["export", str(trained.path), "--to", "gguf", *map(str, words)])


def of_the_app(trained):
    """The prompts and the app's greedy answers to them, as tokens."""
    source = of_run(trained)
    chat = conversation_of(source)
    prompts = [chat.generation_prompt(text if chat.mode == "text" else [{"role": "user", "content": text}])
               for text in PROMPTS]  # fmt: skip
    ends = sorted(chat.end_ids.union(end_ids(source.base)))
    return prompts, source.load(source.open()).generate(prompts, TOKENS, ends, reference=False), ends


@pytest.mark.slow
def test_how_many_agree_is_counted(trained, stand_in, tmp_path, capsys):
    prompts, answers, _ = of_the_app(trained)
    assert len(answers) == len(PROMPTS) == 16
    stand_in(prompts, answers)
    assert export(trained, "--out", tmp_path / "a.gguf") == 0
    assert "16 of 16 prompts agree with the app's greedy text, 32 tokens each, by llama-cpp-python 9.9\n" in (
        capsys.readouterr().out
    )
    changed = [*answers]
    changed[2] = [*answers[2][:5], (answers[2][5] + 1) % 250, *answers[2][6:]]
    changed[9] = answers[9][:-1]
    stand_in([[*prompts[0], 7], *prompts[1:]], changed)
    assert export(trained, "--adapter-only", "--out", tmp_path / "b.gguf") == 0
    said = capsys.readouterr().out
    assert ("14 of 16 prompts agree with the app's greedy text, 32 tokens each, by llama-cpp-python 9.9; llama.cpp "
            "makes other tokens of 1 of the prompts; first apart after 5 tokens of: "
            f"{PROMPTS[2]}\n") in said  # fmt: skip
    base, lora = json.loads((tmp_path / "asked.json").read_text())
    assert (Path(base).name, Path(lora).name) == ("b.gguf.base", "b.gguf")
    assert not Path(base).exists()  # the base was written for this alone


@pytest.mark.parametrize(("begin", "reason"), [
    ("raise ValueError('Failed to load model')", "ValueError: Failed to load model"),
    ("os.abort()", "exit code -6"),
])  # fmt: skip
def test_a_llama_cpp_that_fails_is_told_and_the_file_stays(begin, reason, trained, stand_in, tmp_path, capsys):
    stand_in([], [], begin)
    assert export(trained, "--out", tmp_path / "a.gguf") == 0
    said = f"! its greedy text was not compared with the app's: llama-cpp-python failed: {reason}"
    assert said in capsys.readouterr().out
    assert (tmp_path / "a.gguf").exists()


def test_without_the_package_that_is_said(trained, tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "llama_cpp", None)
    assert export(trained, "--out", tmp_path / "a.gguf") == 0
    assert ("! its greedy text was not compared with the app's: llama-cpp-python is not installed; pip install "
            "llama-cpp-python\n") in capsys.readouterr().out  # fmt: skip


def test_a_count_in_words():
    assert Agreement(16, "x 1").line.startswith("16 of 16 prompts agree")
    assert Agreement(reason="none").line.endswith(": none")


def by_llama_cpp(file, prompts, ends, lora=None):
    """Greedy answers of llama.cpp to prompts that are tokens already."""
    llama_cpp = pytest.importorskip("llama_cpp")
    model, found = llama_cpp.Llama(str(file), n_ctx=256, n_threads=1, verbose=False, lora_path=lora), []
    for prompt in prompts:
        model.reset()
        answer = []
        for token in model.generate(prompt, temp=0.0, repeat_penalty=1.0):
            if token in ends or len(answer) == TOKENS:
                break
            answer.append(int(token))
        found.append(answer)
    return found


@pytest.fixture(scope="module", params=["gsm8k-mini", "27m"])
def real(request, shared, tiny_pairs, tmp_path_factory):
    """A run on a real model, and on a random one of a real shape and tokenizer."""
    pytest.importorskip("llama_cpp")
    backend_of("cuda")
    folder = tmp_path_factory.mktemp(request.param)
    base = shared / "models" / request.param
    if request.param == "27m":
        base = folder / "27m"
        make = [sys.executable, str(shared / "models" / "llama-shapes" / "make.py"), str(base), "--size", "27m"]
        subprocess.run(make, check=True, capture_output=True)
    train = ["train", "--model", base, "--data", tiny_pairs, "--backend", "cuda", "--device", "cpu", "--steps", "4",
             "--runs", folder / "runs", "--name", "r", "--learning-rate", "3e-3"]  # fmt: skip
    assert run([str(word) for word in train]) == 0
    return Run(folder / "runs" / "r")


# q8_0 rounds weights to 8 bits, and llama.cpp the activations that meet them: some answers go another way
@pytest.mark.slow
@pytest.mark.parametrize(("words", "least"), [
    ([], 16), (["--quantize", "f16"], 15), (["--adapter-only"], 16), (["--quantize", "q8_0"], 8),
])  # fmt: skip
def test_llama_cpp_says_what_the_app_says(real, words, least, tmp_path, capsys):
    prompts, answers, ends = of_the_app(real)
    file, lora = tmp_path / "x.gguf", None
    assert export(real, "--out", file, *words) == 0
    said = next(line for line in capsys.readouterr().out.splitlines() if "prompts agree" in line)
    if words == ["--adapter-only"]:
        file, lora = tmp_path / "base.gguf", str(file)
        write_checked(of_run(real).base, file)
    theirs = by_llama_cpp(file, prompts, ends, lora)
    same = sum(one == other for one, other in zip(answers, theirs, strict=True))
    print(f"{real.path.parents[1].name} {words}: {same} of 16 of the same tokens; {said}")
    assert same >= least
    assert "other tokens of" in said or said.startswith(f"{same} of 16")
