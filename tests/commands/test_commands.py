"""The commands as their user types them, on a tiny model, in one process."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from mio_local import cli
from mio_local.backends import installed
from mio_local.runs.directory import Run
from tests.helpers import fakes
from tests.helpers.backends import need_library
from tests.helpers.some import fast


@pytest.fixture(scope="module", params=fast(installed(), ["mlx"]))
def trained(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, tiny_model: Path,
            tiny_pairs: Path) -> Path:  # fmt: skip
    """A folder with two finished runs, a (mio) and b (dpo), trained by `mio-local train`."""
    need_library(request.param)
    folder = tmp_path_factory.mktemp("runs")
    for name, loss in (("a", "mio"), ("b", "dpo")):
        code = cli.run(
            ["train", "--runs", str(folder), "--name", name, "--loss", loss, "--model", str(tiny_model), "--data",
             str(tiny_pairs), "--backend", request.param, "--device", "cpu", "--steps", "4", "--eval-every", "2",
             "--set", "data.eval_fraction=0.25", "--learning-rate", "1e-3"]
        )  # fmt: skip
        assert code == 0
    return folder


def test_train_leaves_a_complete_run_directory(trained: Path) -> None:
    """The layout that DESIGN promises, and one JSON object a line with the promised names."""
    run = Run(trained / "a")
    for name in ("recipe.toml", "run.json", "events.jsonl", "status.json", "run.lock", "adapter", "checkpoints/best"):
        assert (run.path / name).exists(), name
    events = [json.loads(line) for line in run.events.read_text().splitlines()]
    steps = [event for event in events if event["type"] == "step"]
    assert [event["step"] for event in steps] == [1, 2, 3, 4]
    assert [event["step"] for event in events if event["type"] == "eval"] == [0, 2, 4]
    for name in ("loss", "grad_norm", "learning_rate", "logps/chosen", "logps/rejected", "rewards/chosen",
                 "rewards/margins", "rewards/accuracies", "mi/js", "num_tokens", "epoch"):  # fmt: skip
        assert isinstance(steps[0][name], float | int), name
    assert steps[0]["loss"] == pytest.approx(1.3862943611, abs=1e-6)
    assert run.read_status()["state"] == "done"
    assert not [file for file in run.path.rglob(".*") if file.is_file()]


@pytest.mark.slow
def test_the_frozen_recipe_reproduces_the_run(trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Training it again, under another name, gives the same numbers to the bit."""
    assert cli.run(["train", str(trained / "a" / "recipe.toml"), "--runs", str(trained), "--name", "again"]) == 0

    def losses(name: str) -> list[float]:
        lines = (trained / name / "events.jsonl").read_text().splitlines()
        return [event["loss"] for event in map(json.loads, lines) if event["type"] in ("step", "eval")]

    assert losses("again") == losses("a")


def test_runs_lists_state_objective_and_figures(trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One line a run."""
    assert cli.run(["runs", "--runs", str(trained)]) == 0
    shown = capsys.readouterr().out
    assert re.search(r"^a\s+done\s+mio\s+tiny-llama\s+4\s+[+-]\d", shown, re.M)
    assert re.search(r"^b\s+done\s+dpo", shown, re.M)


def test_show_tells_settings_target_and_held_out_figures(trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """And the next steps."""
    assert cli.run(["show", "a", "--runs", str(trained)]) == 0
    shown = capsys.readouterr().out
    assert "chosen is drawn to +6.93 nats" in shown
    assert re.search(r"^0\s+1\.3863\s+\+0\.000\s+\+0\.000", shown, re.M)
    assert all(f"mio-local {command} a" in shown for command in ("plot", "chat", "eval"))


@pytest.mark.parametrize("suffix", ["png", "svg"])
def test_plot_draws_one_run_or_several(
    trained: Path, tmp_path: Path, suffix: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """A picture of the kind that the name asks for."""
    out = tmp_path / f"curves.{suffix}"
    assert cli.run(["plot", "a", "b", "--runs", str(trained), "--out", str(out)]) == 0
    assert out.read_bytes()[:5] == {"png": b"\x89PNG\r", "svg": b"<?xml"}[suffix]
    assert list(tmp_path.iterdir()) == [out]
    assert f"curves: {out}" in capsys.readouterr().out.replace("\n", " ").replace("  ", " ")


def test_text_from_outside_is_never_read_as_markup(
    tmp_path: Path, tiny_model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """`[/INST]` and `[red]` in a path or a row would crash or colour a reader of markup."""
    folder = tmp_path / "[red]data[bold]"
    folder.mkdir()
    pairs = folder / "pairs.jsonl"
    row = {"prompt": "[/INST] [bold]?", "chosen": "[red]yes[/]", "rejected": "[link=x]no"}
    pairs.write_text(json.dumps(row) + "\n")
    assert cli.run(["data", "check", str(pairs), "--model", str(tiny_model)]) == 0
    shown = capsys.readouterr().out
    assert str(pairs) in shown.replace("\n", "")  # brackets and all


def test_doctor_says_what_works_and_what_to_do_next(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Each backend by name."""
    assert cli.run(["doctor", "--runs", str(tmp_path)]) == 0
    shown = capsys.readouterr().out
    assert "✓ mlx" in shown or "✓ cuda" in shown
    assert "mio-local demo" in shown
    fakes.make_run(tmp_path, "demo-mio")
    assert cli.run(["doctor", "--runs", str(tmp_path)]) == 0
    shown = capsys.readouterr().out
    assert "mio-local demo" not in shown  # it was run
    assert "mio-local runs" in shown


@pytest.mark.slow
@pytest.mark.parametrize("backend", installed())
def test_doctor_measures_several_devices_and_their_links(backend: str) -> None:
    """In a process of its own: a library's ranks come together once in one."""
    need_library(backend)
    words = ["doctor", "--devices", "2", "--backend", backend, "--device", "cpu"]
    done = subprocess.run([sys.executable, "-P", "-m", "mio_local", *words], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "✓ rank 1" in done.stdout
    sums = [float(ms) for ms in re.findall(r"MB over all: ([\d.]+) ms", done.stdout)]
    assert len(sums) == 3
    assert 0 < sums[0] < sums[-1]
    assert f"mio-local bench --model MODEL --data PAIRS.jsonl --devices 2 --backend {backend}" in done.stdout


def test_no_runs_offers_the_demo(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The empty state says what to do."""
    assert cli.run(["runs", "--runs", str(tmp_path)]) == 0
    assert "mio-local demo" in capsys.readouterr().out


def test_recipes_lists_each_with_its_purpose(capsys: pytest.CaptureFixture[str]) -> None:
    """A line each."""
    assert cli.run(["recipes"]) == 0
    shown = capsys.readouterr().out
    assert all(name in shown for name in ("demo", "mac-16gb", "mac-64gb", "gpu-24gb", "gpu-80gb"))


@pytest.mark.slow
def test_the_demo_trains_both_objectives_and_compares_them(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A few steps of the shipped demo: both start at their known loss, with the same first gradient."""
    assert cli.run(["demo", "--runs", str(tmp_path), "--steps", "2", "--device", "cpu"]) == 0
    shown = capsys.readouterr().out
    assert all(words in shown for words in ("demo-mio", "demo-dpo", "mio-local train --model"))
    assert (tmp_path / "demo-mio-against-demo-dpo.png").stat().st_size > 10_000
    first = {
        name: next(
            event
            for event in map(json.loads, (tmp_path / name / "events.jsonl").read_text().splitlines())
            if event["type"] == "step"
        )
        for name in ("demo-mio", "demo-dpo")
    }
    assert first["demo-mio"]["loss"] == pytest.approx(1.3862943611, abs=1e-6)
    assert first["demo-dpo"]["loss"] == pytest.approx(0.6931471806, abs=1e-6)
    assert first["demo-mio"]["grad_norm"] == pytest.approx(first["demo-dpo"]["grad_norm"], rel=1e-4)
