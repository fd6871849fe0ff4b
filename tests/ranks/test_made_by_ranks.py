"""Answers drawn by several ranks: each chunk by one of them, as one process draws it."""

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.helpers.backends import need_library
from tests.helpers.ranks.ranked_runs import command, quickest

DEMO = Path(__file__).resolve().parents[2] / "recipes" / "demo"
RANKS = 3


@pytest.mark.slow
@pytest.mark.parametrize("backend", quickest())
def test_several_ranks_draw_the_answers_that_one_draws(tmp_path: Path, backend: str) -> None:
    """Four chunks, the last one shorter: the same tokens, where one process goes on with it as well."""
    need_library(backend)

    def made(name: str, *words: object) -> tuple[dict[int, Any], list[bytes]]:
        """The answers' tokens by chunk, and the lines in which they are kept."""
        line = command("data", "make", "--model", DEMO / "model", "--prompts", DEMO / "train.jsonl", "--limit", 14,
                       "--answers", 2, "--judge", "gold", "--answer-tokens", 32, "--set", "make.rows=2", "--set",
                       "speed.reference_cache=false", "--backend", backend, "--device", "cpu",
                       "--out", tmp_path / name, *words)  # fmt: skip
        done = subprocess.run(line, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done
        kept = (tmp_path / f"{name}.work").read_bytes().splitlines(keepends=True)
        found = [json.loads(line[9:]) for line in kept]  # behind its CRC-32
        return {one["chunk"]: one["answers"] for one in found if "answers" in one}, kept

    alone, _ = made("alone.jsonl")
    assert [len(alone[number]) for number in sorted(alone)] == [4, 4, 4, 2]
    shared, kept = made("shared.jsonl", "--devices", RANKS)
    assert shared == alone
    (tmp_path / "shared.jsonl").unlink()
    (tmp_path / "shared.jsonl.work").write_bytes(b"".join(kept[:2]))  # as killed after the first chunk
    again, _ = made("shared.jsonl")
    assert again == alone
