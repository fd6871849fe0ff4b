"""What a run and the cache hold is its owner's alone, and names no secret."""

import json
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from mio_local import cli
from mio_local.text import without_secrets


@pytest.mark.slow
def test_a_run_and_the_cache_are_their_owners_alone(tmp_path: Path, tiny_model: Path, tiny_pairs: Path) -> None:
    """By a umask that would let everybody read; a token on the command line is not written down."""
    token, runs, cache = "hf_" + "x" * 30, tmp_path / "runs", tmp_path / "cache"
    run = runs / "mine"
    words = ["train", "--model", tiny_model, "--data", tiny_pairs, "--device", "cpu", "--runs", runs, "--name", "mine",
             "--steps", 2, "--save-every", 1, "--set", "eval.sample_tokens=0",
             "--set", f"eval.sample_prompt=token={token}"]  # fmt: skip
    environment = os.environ | {"MIO_LOCAL_CACHE": str(cache)}
    ended = subprocess.run([sys.executable, "-m", "mio_local.cli", *map(str, words)], capture_output=True, text=True,
                           env=environment, umask=0o022, check=False)  # fmt: skip
    assert ended.returncode == 0, ended.stderr
    (tmp_path / "out").mkdir()
    (tmp_path / "out").chmod(0o755)
    out = [tmp_path / "out" / name for name in ("curves.png", "r.md", "peft")]
    before = os.umask(0o022)
    try:
        for each in (
            ["plot", run], ["report", run, "--out", run / "report.md"], ["export", run, "--to", "mlx"],
            ["plot", run, "--out", out[0]], ["report", run, "--out", out[1]],
            ["export", run, "--to", "peft", "--out", out[2]],
        ):  # fmt: skip
            assert cli.run([str(word) for word in each]) == 0
    finally:
        os.umask(before)
    exported = run / "exports"
    held = {file for place in (runs, cache) for file in (place, *place.rglob("*"))} - {exported, *exported.rglob("*")}
    assert {"curves.png", "report.md"} <= {file.name for file in held}
    modes = {str(file.relative_to(tmp_path)): stat.S_IMODE(file.stat().st_mode) for file in held}
    assert {name: oct(mode) for name, mode in modes.items() if mode & 0o077} == {}
    for place in (*out, exported):  # for other programs, as the umask says
        found = [place, *place.rglob("*")]
        assert all(stat.S_IMODE(file.stat().st_mode) == (0o755 if file.is_dir() else 0o644) for file in found)
    (session,) = json.loads((runs / "mine" / "run.json").read_text())["sessions"]
    assert session["argv"][1:3] == ["train", "--model"]
    assert token not in json.dumps(session)


@pytest.mark.parametrize(
    ("word", "shown"),
    [
        ("hf_abcdefghijklmnop", "…"), ("--token=abc123", "--token=…"), ("HF_TOKEN=hf_zzzzzzzzzzzz", "HF_TOKEN=…"),
        ("https://me:pw@host/x", "https://…@host/x"), ("api_key: xyz", "api_key: …"), ("sk-abcdef12345678", "…"),
        ("Authorization: Bearer abc", "Authorization: Bearer …"), ("data.max_tokens=512", "data.max_tokens=512"),
        ("--max-tokens", "--max-tokens"), ("models/tokenizer.json", "models/tokenizer.json"),
        ("https://host:80/x@y", "https://host:80/x@y"), ("task-force-12345678", "task-force-12345678"),
    ],
)  # fmt: skip
def test_what_looks_like_a_secret_is_left_out(word: str, shown: str) -> None:
    assert without_secrets(word) == shown
