"""Plain text before and after: the trainer's and `eval`'s figures, against the libraries' own on the same text."""

import math
from pathlib import Path
from typing import Any

import pytest

from mio_local.cli import run as command
from mio_local.data.prose import texts as prose
from mio_local.recipe import build, read_toml
from mio_local.reports.verdict import verdict
from mio_local.runs.directory import Run
from mio_local.runs.history import read
from mio_local.runs.summary import row_of
from mio_local.training.measured.text_perplexity import Perplexity
from tests.helpers.backends import BACKENDS, need_library
from tests.helpers.fakes import read_events
from tests.helpers.some import fast

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning", "ignore::FutureWarning")
STEPS = 4


@pytest.fixture(scope="module", params=fast(BACKENDS, ["mlx"]))
def trained(request: pytest.FixtureRequest, tiny_model: Path, tiny_pairs: Path, tmp_path_factory: Any) -> Run:
    """A run of a few steps that are large enough to be seen in the text, scored at the start, half-way and the end."""
    need_library(request.param)
    folder = tmp_path_factory.mktemp("runs")
    words = ["train", "--model", tiny_model, "--data", tiny_pairs, "--backend", request.param, "--device", "cpu",
             "--rank", 4, "--runs", folder, "--name", "t", "--steps", STEPS, "--learning-rate", "3e-2",
             "--forgetting", "shipped", "--eval-every", 2, "--set", "eval.sample_tokens=0"]  # fmt: skip
    assert command([str(word) for word in words]) == 0
    return Run(folder / "t")


def by_transformers(model: Path, adapter: Path | None, texts: list[str]) -> float:
    """The perplexity that transformers and peft compute, one text at a time."""
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer: Any = AutoTokenizer.from_pretrained(model)
    loaded: Any = AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32)
    if adapter:
        loaded = PeftModel.from_pretrained(loaded, str(adapter))
    loaded.eval()
    nats, tokens = 0.0, 0
    for text in texts:
        ids = tokenizer(text, return_tensors="pt").input_ids
        with torch.no_grad():
            nats += float(loaded(input_ids=ids, labels=ids).loss) * (ids.shape[1] - 1)
        tokens += ids.shape[1] - 1
    return math.exp(nats / tokens)


def by_mlx_lm(model: Path, adapter: Path | None, texts: list[str]) -> float:
    """The same by mlx-lm's loader and mlx's cross-entropy."""
    import mlx.core as mx
    import mlx.nn as nn
    import mlx_lm

    loaded, tokenizer = mlx_lm.load(str(model), adapter_path=str(adapter) if adapter else None)[:2]
    nats, tokens = 0.0, 0
    with mx.stream(mx.cpu):
        for text in texts:
            ids = mx.array([tokenizer.encode(text)])
            losses = nn.losses.cross_entropy(loaded(ids)[:, :-1].astype(mx.float32), ids[:, 1:])
            nats += float(losses.sum())
            tokens += losses.size
    return math.exp(nats / tokens)


def test_the_libraries_find_the_same_perplexities(trained: Run, tiny_model: Path) -> None:
    oracle = by_mlx_lm if read(trained).recipe.backend.name == "mlx" else by_transformers
    texts = prose.read_texts("shipped", "")
    base, policy = oracle(tiny_model, None, texts), oracle(tiny_model, trained.adapter, texts)
    assert abs(math.log(policy / base)) > 0.01
    events = [event for event in read_events(trained.events) if event["type"] == "text"]
    assert [event["step"] for event in events] == [0, 2, 4]
    assert events[0]["perplexity"] == pytest.approx(events[0]["base"], rel=1e-6) == pytest.approx(base, rel=1e-4)
    assert events[-1]["perplexity"] == pytest.approx(policy, rel=1e-4)
    assert events[-1]["change"] == pytest.approx(math.log(policy / base), abs=1e-4)
    assert (events[-1]["texts"], events[-1]["tokens"]) == (30, sum(len(text.encode()) - 1 for text in texts))
    assert 0 < events[-1]["change_stderr"] < 1


def test_eval_measures_what_the_trainer_did(trained: Run, capsys: pytest.CaptureFixture[str]) -> None:
    last = [event for event in read_events(trained.events) if event["type"] == "text"][-1]
    before = len(read_events(trained.events))
    assert command(["eval", str(trained.path), "--no-preference", "--forgetting"]) == 0
    out = capsys.readouterr().out
    found = read_events(trained.events)[before:]
    assert {(event["name"], event["data"], event["count"]) for event in found} == {("forgetting", "shipped text", 30)}
    values = {event["of"]: event["value"] for event in found}
    near = pytest.approx([last["base"], last["perplexity"], last["change"]], rel=1e-5, abs=1e-6)
    assert [values["base"], values["policy"], values["difference"]] == near
    assert found[-1]["stderr"] == pytest.approx(last["change_stderr"], rel=1e-3)
    assert f"{values['policy']:.4f}" in out
    assert command(["show", str(trained.path)]) == 0
    shown = capsys.readouterr().out
    assert "log perplexity" in shown
    assert f"step 4: perplexity of plain text {last['perplexity']:.5g}, of the base {last['base']:.5g}" in shown
    assert command(["report", str(trained.path), "--out", str(trained.path / "r.md")]) == 0
    assert "## Plain text" in (trained.path / "r.md").read_text(encoding="utf-8")


def test_a_text_of_ones_own(trained: Run, tmp_path: Path) -> None:
    """Empty lines part them, with blanks or without; what the verdict says afterwards, the list says too."""
    own = tmp_path / "own.txt"
    own.write_text("A line,\nand its second.\n \t\nAnother text.\n", encoding="utf-8")
    assert command(["eval", str(trained.path), "--no-preference", "--forgetting", str(own)]) == 0
    last = read_events(trained.events)[-1]
    assert (last["of"], last["data"], last["count"]) == ("difference", "own.txt", 2)
    line = verdict(read(trained))
    assert line is not None
    assert row_of(trained).verdict == line.line


def test_one_text_has_no_standard_error(trained: Run, tmp_path: Path) -> None:
    own = tmp_path / "one.txt"
    own.write_text("One text alone.", encoding="utf-8")
    assert command(["eval", str(trained.path), "--no-preference", "--forgetting", str(own)]) == 0
    assert "stderr" not in read_events(trained.events)[-1]


def test_a_model_without_an_adapter_has_a_perplexity(
    tiny_model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command(["eval", str(tiny_model), "--forgetting", "--device", "cpu", "--backend", "mlx"]) == 0
    [row] = [line.split() for line in capsys.readouterr().out.splitlines() if " base " in line]
    assert float(row[4]) == pytest.approx(by_mlx_lm(tiny_model, None, prose.read_texts("shipped", "")), rel=1e-4)


def test_the_change_and_its_error() -> None:
    """Three texts of 10, 20 and 10 tokens lose 1, 4 and 1 nats: 6 / 40 a token; the rests -0.5, 1 and -0.5 have a
    deviation of sqrt(0.75), over sqrt(3) and a mean of 40 / 3 tokens."""
    rows = [[([1], [2] * count)] for count in (10, 20, 10)]
    found = Perplexity(rows, [20.0, 40.0, 20.0], [21.0, 44.0, 21.0])
    assert found.change == pytest.approx(0.15)
    assert found.stderr == pytest.approx(math.sqrt(0.75 / 3) / (40 / 3))
    assert found.of(found.base) == pytest.approx(math.exp(2))
    assert math.isnan(Perplexity(rows[:1], [20.0], [21.0]).stderr)
    assert Perplexity(rows[:1], [20.0], [1e9]).of([1e9]) == math.inf


def test_long_texts_are_scored_in_parts_that_leave_nothing_out() -> None:
    class Letters:
        def encode(self, text: str) -> list[int]:
            return [ord(letter) for letter in text]

    rows = prose.text_rows(["abcdefgh", "a", "ab"], Letters(), 4)
    assert [[(bytes(prompt), bytes(rest)) for prompt, rest in text] for text in rows] == [
        [(b"a", b"bcd"), (b"d", b"efg"), (b"g", b"h")], [(b"a", b"b")]]  # fmt: skip


@pytest.mark.parametrize("words", [["train", "--model", "x", "--data", "PAIRS", "--forgetting"], ["eval", "MODEL"]])
def test_a_file_that_is_not_there_is_named(mistake: Any, tiny_model: Path, tiny_pairs: Path, words: list[str]) -> None:
    words = [{"PAIRS": str(tiny_pairs), "MODEL": str(tiny_model)}.get(word, word) for word in words]
    if words[0] == "eval":
        words.append("--forgetting")
    assert "gone.txt: no such file; write shipped" in mistake(*words, "gone.txt")


@pytest.mark.parametrize(("held", "said"), [(b"", "holds no text"), (b"\n \n", "holds no text"), (b"\xff", "be read")])
def test_a_file_without_text_is_named(mistake: Any, tmp_path: Path, tiny_model: Path, held: bytes, said: str) -> None:
    (tmp_path / "own.txt").write_bytes(held)
    assert said in mistake("eval", tiny_model, "--forgetting", tmp_path / "own.txt")


def test_what_ships_is_plain_english() -> None:
    texts = prose.read_texts("shipped", "")
    assert len(texts) == len(set(texts)) == 30
    assert all(text.isascii() and 150 < len(text) < 400 and "\n" not in text for text in texts)
    assert prose.FILE.stat().st_size < 10_000
    assert prose.read_texts("none", "") == prose.read_texts("", "") == []


def test_a_recipe_finds_its_text_beside_it(tmp_path: Path) -> None:
    (tmp_path / "own.txt").write_text("text", encoding="utf-8")
    (tmp_path / "r.toml").write_text('[eval]\nforgetting = "own.txt"\n', encoding="utf-8")
    assert build(read_toml(tmp_path / "r.toml"), "r").eval.forgetting == str(tmp_path / "own.txt")
    assert build({}, "r").eval.forgetting == "none"
