"""What the tests of several ranks share."""

from pathlib import Path

import pytest

from tests.helpers.ranks.ranked_runs import mixed_pairs


@pytest.fixture
def pairs(tmp_path: Path) -> Path:
    """Pairs of mixed lengths."""
    return mixed_pairs(tmp_path / "pairs.jsonl")
