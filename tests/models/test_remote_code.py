"""Python code of a model's repository runs only where the user said so by name: a file of strangers cannot."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from mio_local.process import says_trust

CODE = """
from pathlib import Path
Path({mark!r}).write_text("it ran")
from transformers import PreTrainedTokenizerFast
class Own(PreTrainedTokenizerFast):
    pass
"""


@pytest.fixture
def model(tiny_model: Path, tmp_path: Path) -> Path:
    """A model whose tokenizer is Python code, which leaves a mark where it runs."""
    folder = shutil.copytree(tiny_model, tmp_path / "model")
    (folder / "own.py").write_text(CODE.format(mark=str(tmp_path / "mark")), encoding="utf-8")
    file = folder / "tokenizer_config.json"
    config = json.loads(file.read_text(encoding="utf-8"))
    config |= {"tokenizer_class": "Own", "auto_map": {"AutoTokenizer": [None, "own.Own"]}}
    file.write_text(json.dumps(config), encoding="utf-8")
    return folder


def run(tmp_path: Path, *words: object) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"HF_MODULES_CACHE": str(tmp_path / "modules"), "MIO_LOCAL_CACHE": str(tmp_path / "c")}
    return subprocess.run([sys.executable, "-m", "mio_local.cli", *map(str, words)], capture_output=True, text=True,
                          env=environment, check=False)  # fmt: skip


@pytest.mark.slow
def test_a_recipe_alone_runs_none(model: Path, tiny_pairs: Path, tmp_path: Path) -> None:
    recipe = tmp_path / "r.toml"
    recipe.write_text(
        f'[model]\nname = "{model}"\ntrust_remote_code = true\n[data]\nsource = "{tiny_pairs}"\n'
        '[train]\nsteps = 2\nsave_every = 1\n[eval]\nsample_tokens = 0\n[backend]\nname = "mlx"\ndevice = "cpu"\n'
    )
    place = ["--runs", tmp_path / "runs"]
    refused = run(tmp_path, "train", recipe, "--name", "r", *place)
    assert refused.returncode == 2
    assert "asks to run Python code" in refused.stderr
    assert "--trust-remote-code" in refused.stderr
    assert not (tmp_path / "mark").exists()
    trained = run(tmp_path, "train", recipe, "--name", "r", "--trust-remote-code", *place)
    assert trained.returncode == 0, trained.stderr
    assert (tmp_path / "mark").exists()
    (tmp_path / "mark").unlink()
    for words in (["generate", "r", "--prompt", "Q"], ["check", "r"], ["eval", "r", "--samples", 0]):
        refused = run(tmp_path, *words, *place)
        assert refused.returncode == 2
        assert "--trust-remote-code" in refused.stdout + refused.stderr
        assert not (tmp_path / "mark").exists()
    assert run(tmp_path, "check", "r", "--trust-remote-code", *place).returncode == 0
    assert (tmp_path / "mark").exists()


@pytest.mark.parametrize(
    ("words", "trusted"),
    [
        ("train r.toml", False),
        ("train r.toml --trust-remote-code", True),
        ("train r.toml --set model.trust_remote_code=true", True),
        ("train r.toml --trust-remote-code --no-trust-remote-code", False),
        ("train r.toml --trust-remote-code --set model.trust_remote_code=false", False),
        ("train r.toml --no-trust-remote-code --trust-remote-code", True),
    ],
)
def test_the_last_word_counts(words: str, trusted: bool) -> None:
    assert says_trust(words.split()) is trusted
