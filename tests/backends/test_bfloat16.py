"""A base and an adapter in bfloat16, in a process of its own: here some test has taught numpy that type already."""

import shutil
import subprocess
import sys

import ml_dtypes
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from tests.helpers.backends import noisy, start


def rounded(file):
    """Store a file's tensors in bfloat16."""
    stored = {key: value.astype(ml_dtypes.bfloat16) for key, value in load_file(file).items()}
    save_file(stored, file, {"format": "pt"})


@pytest.mark.slow
def test_they_are_read(tiny_model, tmp_path):
    base = shutil.copytree(tiny_model, tmp_path / "base")
    model = start("mlx", base)
    model.set_adapter(noisy(model.get_adapter()))
    model.save_adapter(tmp_path / "adapter")
    rounded(base / "model.safetensors")
    rounded(tmp_path / "adapter" / "adapters.safetensors")
    words = ["export", tmp_path / "adapter", "--model", base, "--to", "merged", "--out", tmp_path / "out"]
    command = [sys.executable, "-m", "mio_local.cli", *map(str, words)]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert ended.returncode == 0, ended.stderr
    assert "its logits " in ended.stdout
    found = load_file(tmp_path / "out" / "model.safetensors")
    assert {value.dtype for value in found.values()} == {np.dtype(ml_dtypes.bfloat16)}
