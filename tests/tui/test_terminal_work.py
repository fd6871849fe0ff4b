"""A first evening with the app, in a real terminal, by keys and paths alone: two runs and their comparison, what can be
done with a run, and a line of runs that outlives the app."""

import os
import shutil
import sys
from pathlib import Path

import pytest

from mio_local.runs.directory import Run
from tests.helpers.tui.terminal import Terminal

DEMO = Path(__file__).parents[2] / "recipes" / "demo"
SIZES = [(80, 24), (140, 45)]
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not shutil.which("tmux"), reason="tmux is not installed"),
]


class Keys:
    """A terminal whose keys are counted; a typed path counts as one."""

    def __init__(self, terminal: Terminal) -> None:
        self.terminal, self.pressed, self.paths = terminal, 0, 0

    def press(self, key: str, seen: str, seconds: float = 60) -> str:
        """Press one key, and wait for what it leads to."""
        self.terminal.keys(key)
        self.pressed += 1
        return self.terminal.wait(seen, seconds)

    def path(self, path: Path, seen: str) -> None:
        """Type a path."""
        self.terminal._tmux("send-keys", "-l", str(path))
        self.paths += 1
        self.terminal.wait(seen)


def environment() -> dict[str, str]:
    return {
        "TERM": "tmux-256color", "PS1": "$ ", "LANG": "C.UTF-8", "OPENBLAS_NUM_THREADS": "1",
        "PATH": os.environ["PATH"], "MIO_LOCAL_PRELOAD": "1", "MIO_LOCAL_BELL": "0",
    }  # fmt: skip


def demo_pairs(file: Path, count: int) -> Path:
    """The first of the demo's pairs; a step takes four."""
    lines = (DEMO / "train.jsonl").read_text().splitlines(keepends=True)[:count]
    file.write_text("".join(lines))
    return file


@pytest.fixture
def pairs(tmp_path: Path) -> Path:
    return demo_pairs(tmp_path / "pairs.jsonl", 24)


@pytest.mark.parametrize(("width", "height"), SIZES)
def test_from_nothing_to_a_comparison_in_twelve_keys_and_two_paths(
    tmp_path: Path, pairs: Path, width: int, height: int
) -> None:
    folder = tmp_path / "runs"
    app = f"{sys.executable} -m mio_local.cli --runs {folder}"
    with Terminal(width, height, environment()) as terminal:
        keys = Keys(terminal)
        terminal.type(f"cd {tmp_path} && {app}")
        terminal.wait("No runs yet")
        keys.press("n", "1 Model")
        keys.path(DEMO / "model", "demo/model")
        keys.press("Enter", "2 Data", 60)
        terminal.wait("1 Model ✓")
        keys.path(pairs, "pairs.jsonl")
        keys.press("C-s", "s starts")
        keys.press("s", "TRAINING", 120)
        terminal.wait("DONE", 180)
        rerun = keys.pressed
        keys.press(".", "Train again as DPO")
        keys.press("a", "s starts")
        keys.press("s", "model-dpo", 120)
        assert keys.pressed - rerun == 3
        terminal.wait(lambda text: "DONE" in text and "DPO" in text, 180)
        keys.press("c", "A − B")
        text = terminal.text()
        assert "model-mio" in text
        assert "model-dpo" in text
        assert keys.pressed <= 12
        assert keys.paths == 2


def test_a_run_is_evaluated_exported_and_reported_without_leaving(tmp_path: Path, pairs: Path) -> None:
    folder = tmp_path / "runs"
    command = f"{sys.executable} -m mio_local.cli --runs {folder}"
    model = f"--model {DEMO / 'model'} --data {pairs} --max-tokens 128 --set data.eval_fraction=0.25"
    with Terminal(140, 45, environment()) as terminal:
        keys = Keys(terminal)
        terminal.type(f"cd {tmp_path} && {command} train {model} --name one && {command}")
        terminal.wait("mio-local   runs 1", 180)
        keys.press(".", "Evaluate…")
        keys.press("v", "Did it forget?")
        keys.press("h", "Evaluate one")
        assert "preference" in terminal.wait("Evaluate one  ✓ ", 180)
        keys.press("Escape", "mio-local   runs 1")
        keys.press(".", "Export…")
        keys.press("o", "GGUF")
        keys.press("m", "Export as mlx: one")
        terminal.wait("Export as mlx: one  ✓ ", 180)
        assert "mlx_lm.generate" in terminal.text()
        assert (folder / "one" / "exports" / "mlx" / "adapters.safetensors").exists()
        keys.press("Escape", "mio-local   runs 1")
        keys.press(".", "Write and read its report")
        keys.press("w", "Report of one")
        terminal.wait("Held-out figures", 60)
        assert (folder / "one" / "report.html").exists()
        keys.press("Escape", "mio-local   runs 1")
        keys.press("q", "$ ")


def test_a_line_of_three_runs_outlives_the_app(tmp_path: Path) -> None:
    pairs = demo_pairs(tmp_path / "pairs.jsonl", 400)  # more steps than the app takes to be left
    folder = tmp_path / "runs"
    names = ("model-mio", "model-mio-2", "model-mio-3")
    runs = [Run(folder / name) for name in names]
    app = f"{sys.executable} -m mio_local.cli --runs {folder}"
    with Terminal(140, 45, environment()) as terminal:
        keys = Keys(terminal)
        terminal.type(f"cd {tmp_path} && {app}")
        terminal.wait("No runs yet")
        keys.press("n", "1 Model")
        keys.path(DEMO / "model", "demo/model")
        keys.press("Enter", "1 Model ✓")
        keys.path(pairs, "pairs.jsonl")
        keys.press("C-s", "s starts")
        keys.press("s", "model-mio", 120)
        keys.press("p", "PAUSED", 120)  # else it may be done before the others are in line
        for name in names[1:]:
            keys.press("Escape", "mio-local   runs")
            keys.press("Home", "mio-local   runs")
            keys.press("e", "3 Settings")
            keys.press("C-s", "q runs it after")
            keys.press("q", f"{name} is in line")
        keys.press("Escape", "mio-local   runs 3")
        keys.press("Home", "mio-local   runs")
        keys.press("Enter", "PAUSED")
        keys.press("p", "TRAINING", 120)
        keys.press("Escape", "mio-local   runs 3")
        keys.press("q", "Quit?")
        keys.press("k", "keeps training")
        terminal.type("clear")
        terminal.type(f"until {app} runs | grep -c done | grep -q 3; do sleep 1; done; echo all of them")
        terminal.wait(lambda text: "\nall of them" in text, 300)
    assert [run.read_status()["state"] for run in runs] == ["done"] * 3
    ends = [run.read_status()["time"] for run in runs]
    assert ends == sorted(ends)


@pytest.mark.parametrize(("width", "height"), SIZES)
def test_prompts_become_pairs_that_are_reviewed_and_trained_on(tmp_path: Path, width: int, height: int) -> None:
    """The demo's prompts, of which the first fourteen make more than ten pairs at eight answers each."""
    demo_pairs(tmp_path / "prompts.jsonl", 40)
    app = f"{sys.executable} -m mio_local.cli --runs {tmp_path / 'runs'}"
    reviewed = tmp_path / "pairs-reviewed.jsonl"
    with Terminal(width, height, environment()) as terminal:
        keys = Keys(terminal)
        terminal.type(f"cd {tmp_path} && {app}")
        terminal.wait("No runs yet")
        keys.press("m", "out file")
        keys.path(DEMO / "model", "demo/model")
        keys.press("Enter", "an adapter")  # whose answer is wanted, if any
        keys.press("Enter", "data of runs")
        keys.path(Path("prompts.jsonl"), "--prompts")
        for seen in ("judges", "--prompts", "--prompts", "--prompts", "--prompts"):
            keys.press("Enter", seen)
        for digit in "24":
            keys.press(digit, f"{digit} ")
        terminal.wait("--limit 24")
        keys.press("C-s", "Make pairs.jsonl", 60)
        text = terminal.wait("✓ ", 300)
        assert "pass@1" in text
        keys.press("r", "1 of ", 60)
        for number in range(10):
            keys.press("1" if number % 2 else "2", f"{number + 2} of ")
        assert len(reviewed.read_text().splitlines()) == 10
        keys.press("n", "2 Data", 60)
        terminal.wait("10 pairs of 10 rows", 120)
        keys.press("C-s", "s starts", 60)
        keys.press("s", "TRAINING", 120)
        terminal.wait("DONE", 180)
    [run] = [Run(folder) for folder in (tmp_path / "runs").iterdir() if (folder / "recipe.toml").exists()]
    assert run.read_status()["state"] == "done"
    assert str(reviewed) in run.recipe.read_text()
