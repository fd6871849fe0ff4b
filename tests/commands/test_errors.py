"""A mistake of the user ends in one line on stderr and exit code 2, and nothing is half-written.

Here: flags, recipes, data and runs. Models, adapters and backends are in test_model_errors.py, the hub in
test_hub_errors.py, the full disk in test_full_disk.py.
"""

import fcntl
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mio_local.recipe import build
from mio_local.runs import directory

Mistake = Callable[..., str]


@pytest.fixture
def train(mistake: Mistake, tiny_model: Path, tiny_pairs: Path) -> Mistake:
    """`mio-local train` with the tiny model and data on the CPU, and the arguments given, which must fail."""

    def fails(*arguments: object) -> str:
        return mistake("train", "--model", tiny_model, "--data", tiny_pairs, "--device", "cpu", *arguments)

    return fails


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--betta", "1"], ["--betta", "nearest: --beta"]),
        (["--lerning-rate=1"], ["--lerning-rate", "nearest: --learning-rate"]),
        (["recipe.toml", "extra"], ["unrecognized arguments", "extra"]),
        (["--beta"], ["--beta", "expected one argument"]),
        (["--rank", "abc"], ["--rank abc", "integer", "lora.rank"]),
        (["--rank", "0"], ["--rank 0", "greater than or equal to 1"]),
        (["--rank", "1.5"], ["--rank 1.5", "integer"]),
        (["--beta", "0"], ["--beta 0", "greater than 0"]),
        (["--beta", "-0.5"], ["--beta -0.5", "greater than 0"]),
        (["--beta", "nan"], ["--beta nan", "finite"]),
        (["--beta", "inf"], ["--beta inf", "finite"]),
        (["--set", "loss.beta=-inf"], ["--set loss.beta -inf", "finite"]),
        (["--set", "loss.beta=0"], ["--set loss.beta 0", "greater than 0"]),
        (["--learning-rate", "nan"], ["--learning-rate nan", "finite"]),
        (["--loss", "moi"], ["--loss moi", "nearest: mio", "dpo"]),
        (["--dtype", "float33"], ["--dtype float33", "'float32'"]),
        (["--quantize", "5"], ["--quantize 5", "4 or 8"]),
        (["--schedule", "cosin"], ["--schedule cosin", "'cosine'"]),
        (["--set", "train.warm=3"], ["train.warm", "nearest: train.warmup"]),
        (["--set", "rank=3"], ["rank", "nearest: lora.rank"]),
        (["--set", "lora.rank"], ["--set lora.rank", "section.key=value"]),
        (["--set", "train.grad_checkpoint=maybe"], ["train.grad_checkpoint maybe", "boolean"]),
        (["--columns", "prompt"], ["--columns prompt", "role=column"]),
        (["--targets", "nope_proj"], ["--targets nope_proj", "q_proj"]),
        (["--targets", "q_prj,v_proj"], ["--targets q_prj", "nearest: q_proj"]),
        (["--targets", ""], ["--targets", "at least 1"]),
        (["--layers", "-1"], ["--layers -1"]),
        (["--device", "toaster"], ["--device toaster"]),
        (["--backend", "cuuda"], ["--backend cuuda", "nearest: cuda"]),
        (["--name", "../up"], ["--name ../up", "letters"]),
        (["--name", ".hidden"], ["--name .hidden", "begin"]),
        (["--name", "a\nb"], ["--name"]),
        (["--name", "x" * 300], ["--name xxx", "long"]),
        (["nofile.toml"], ["nofile.toml", "no such recipe file"]),
        (["demmo"], ["demmo", "nearest: demo"]),
        (["--eval-data", "nowhere.jsonl"], ["nowhere.jsonl", "no such file"]),
        (["--set", "eval.tasks=nowhere.jsonl"], ["eval.tasks", "nowhere.jsonl", "no such file"]),
        (["--set", "eval.tasks=."], ["eval.tasks", "cannot be read"]),
        (["--template", "nowhere.jinja"], ["nowhere.jinja"]),
        (["--columns", "chosen=good"], ["good", "prompt, chosen, rejected"]),
        (["--columns", "chosne=chosen"], ["chosne"]),
        (["--max-tokens", "8"], ["pairs.jsonl line 1"]),
        (["--init-adapter", "nowhere"], ["nowhere", "no such adapter folder"]),
    ],
    ids=" ".join,
)
def test_wrong_flag_or_value_is_named(train: Mistake, arguments: list[str], words: list[str]) -> None:
    line = train(*arguments)
    for word in words:
        assert word in line


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[loss]\nbeta = 0", ["recipe.toml", "loss.beta = 0", "greater than 0"]),
        ("[loss]\nbeta = nan", ["recipe.toml", "loss.beta = nan", "finite"]),
        ("[loss]\nbeta = 'x'", ["recipe.toml", "loss.beta = x", "number"]),
        ("[loss]\nbetta = 1", ["recipe.toml", "unknown key loss.betta", "nearest: loss.beta"]),
        ("[losses]\nbeta = 1", ["recipe.toml", "losses", "nearest: loss"]),
        ("beta = 1", ["recipe.toml", "unknown key beta"]),
        ("loss = 'dpo'", ["recipe.toml", "loss"]),
        ("[loss]\nname = 'dpoo'", ["recipe.toml", "loss.name = dpoo", "nearest: dpo"]),
        ("[lora]\nrank = 'abc'", ["recipe.toml", "lora.rank = abc", "integer"]),
        ("[lora]\ntargets = 3", ["recipe.toml", "lora.targets", "list"]),
        ("[loss]\nbeta = ", ["recipe.toml", "not TOML", "Invalid value"]),
        ("[loss]\nbeta = 1\nbeta = 2", ["recipe.toml", "not TOML"]),
    ],
)
def test_faulty_recipe_file_names_file_key_and_value(
    train: Mistake, tmp_path: Path, text: str, words: list[str]
) -> None:
    (tmp_path / "recipe.toml").write_text(text, encoding="utf-8")
    line = train("recipe.toml")
    for word in words:
        assert word in line


@pytest.mark.parametrize("content", [None, b"\xff\xfe\x00"], ids=["folder", "not text"])
def test_recipe_that_is_no_text_file_is_named(train: Mistake, tmp_path: Path, content: bytes | None) -> None:
    file = tmp_path / "recipe.toml"
    file.write_bytes(content) if content else file.mkdir()
    assert "recipe.toml: cannot be read" in train("recipe.toml")


GOOD = {"prompt": "2 + 2?", "chosen": "4", "rejected": "5"}


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ([GOOD, '{"prompt": "a", '], ["data.jsonl: line 2", "not JSON"]),
        ([GOOD, "[1, 2]"], ["data.jsonl: line 2", "must be a JSON object"]),
        ([GOOD, {**GOOD, "chosen": ""}], ["data.jsonl line 2", "chosen is empty", "bad_rows=skip"]),
        ([GOOD, {**GOOD, "rejected": " \n"}], ["data.jsonl line 2", "rejected is empty"]),
        ([GOOD, {**GOOD, "rejected": 7}], ["data.jsonl line 2", "rejected", "a number"]),
        ([GOOD, {**GOOD, "chosen": None}], ["data.jsonl line 2", "chosen is missing"]),
        ([GOOD, {"prompt": "a", "chosen": "b"}], ["data.jsonl line 2", "rejected is missing"]),
        ([{"prompt": "a", "chosen": "b", "rejcted": "c"}], ["rejcted", "prompt, chosen, rejcted"]),
        ([GOOD, {**GOOD, "prompt": "long " * 2000}], ["data.jsonl line 2", "--max-tokens is 1,024", "long_prompt"]),
        ([""], ["data.jsonl", "no rows"]),
    ],
)
def test_faulty_row_is_named(train: Mistake, tmp_path: Path, rows: list[Any], words: list[str]) -> None:
    file = tmp_path / "data.jsonl"
    file.write_text("\n".join(row if isinstance(row, str) else json.dumps(row) for row in rows), encoding="utf-8")
    line = train("--data", file)
    for word in words:
        assert word in line


@pytest.mark.parametrize("name", ["missing.jsonl", "./missing", "folder", "a.docx", "/nowhere/at/all"])
def test_data_that_is_not_there_or_no_data_is_named(train: Mistake, tmp_path: Path, name: str) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "a.docx").write_bytes(b"x")
    assert name in train("--data", name)


@pytest.mark.usefixtures("refused_as_others")
def test_unreadable_data_is_named(train: Mistake, tmp_path: Path, tiny_pairs: Path) -> None:
    file = shutil.copy(tiny_pairs, tmp_path / "secret.jsonl")
    Path(file).chmod(0)
    try:
        Path(file).read_bytes()
    except PermissionError:
        assert "secret.jsonl: cannot be read: [Errno 13]" in train("--data", file)
    else:
        pytest.skip("this user reads every file")


@pytest.mark.parametrize("missing", ["--model", "--data"])
def test_missing_model_or_data_flag_is_named(
    mistake: Mistake, tiny_model: Path, tiny_pairs: Path, missing: str
) -> None:
    given = {"--model": tiny_model, "--data": tiny_pairs}
    del given[missing]
    assert f"add {missing}" in mistake("train", "--device", "cpu", *(part for flag in given.items() for part in flag))


@pytest.fixture
def done(runs_home: Path, tiny_model: Path, tiny_pairs: Path) -> directory.Run:
    """A finished run without figures, called `first`."""
    run = directory.Run(runs_home / "first")
    recipe = build({"model": {"name": str(tiny_model)}, "data": {"source": str(tiny_pairs)}}, "test")
    directory.create(run, recipe.dump(), {"name": "first"})
    run.write_status(state="done", step=3)
    (run.path / "run.lock").touch()
    return run


def test_taken_name_is_refused(train: Mistake, done: directory.Run) -> None:
    assert "--name first: taken" in train("--name", "first")


@pytest.mark.parametrize("state", ["done", "training", "failed"])
def test_run_that_is_training_is_refused(train: Mistake, mistake: Mistake, done: directory.Run, state: str) -> None:
    done.write_status(state=state, step=3)
    with (done.path / "run.lock").open("rb+") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert "already training" in train("--name", "first")
        if state != "done":
            assert "already training" in mistake("resume", "first")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["resume", "frist"], ["frist", "nearest: first"]),
        (["resume", "first"], ["first is done"]),
        (["show", "frist"], ["frist", "nearest: first"]),
        (["plot", "frist"], ["frist", "nearest: first"]),
        (["plot", "first"], ["first has no figures"]),
        (["plot", "first", "--out", "curves.gif"], ["no figures"]),
        (["plott", "first"], ["plott", "plot"]),
        (["resume"], ["RUN"]),
        (["data"], ["COMMAND"]),
        (["data", "check", "nowhere.jsonl"], ["nowhere.jsonl", "no such file"]),
        (["data", "check", "nowhere.jsonl", "--row", "x"], ["--row", "x"]),
    ],
    ids=" ".join,
)
def test_wrong_run_or_command_is_named(
    mistake: Mistake, done: directory.Run, arguments: list[str], words: list[str]
) -> None:
    line = mistake(*arguments)
    for word in words:
        assert word in line


@pytest.mark.parametrize(
    ("out", "words"), [("curves.gif", [".png or .svg"]), ("no/such/curves.png", ["no folder"]), ("a.png", ["a.png"])]
)
def test_plot_that_cannot_be_written_is_named(
    mistake: Mistake, done: directory.Run, tmp_path: Path, out: str, words: list[str]
) -> None:
    (tmp_path / "a.png").mkdir()
    event = {"type": "eval", "step": 1, "loss": 1.0, "delta/chosen": 0.1, "delta/rejected": 0.0}
    done.events.write_text(json.dumps(event) + "\n", encoding="utf-8")
    line = mistake("plot", "first", "--out", out)
    for word in [out, *words]:
        assert word in line


@pytest.mark.parametrize("command", ["resume", "show"])
@pytest.mark.parametrize("name", ["recipe.toml", "run.json", "status.json"])
def test_damaged_run_is_named(mistake: Mistake, done: directory.Run, command: str, name: str) -> None:
    done.write_status(state="failed", step=3)
    (done.path / name).write_text('{"half', encoding="utf-8")
    assert name in mistake(command, "first")


def test_run_whose_facts_are_gone_is_named(mistake: Mistake, done: directory.Run) -> None:
    done.status.write_text("{}", encoding="utf-8")
    assert "run.json: damaged: it lacks data_digest" in mistake("resume", "first")


@pytest.mark.parametrize("make", [Path.touch, None], ids=["a file", "under a file"])
def test_runs_folder_that_cannot_be_made_is_named(
    train: Mistake, tmp_path: Path, make: Callable[[Path], None] | None
) -> None:
    (tmp_path / "occupied").touch()
    folder = tmp_path / "occupied" / ("" if make else "runs")
    assert "occupied" in train("--runs", folder)
