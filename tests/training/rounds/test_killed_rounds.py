"""A run of rounds is killed while it draws, judges and trains, as a machine would do it, and goes on to the bit."""

import random
import time
from pathlib import Path

import pytest

from tests.training.test_resume import Killed, backend, files, one_thread, repeatable, run_through

__all__ = ["backend", "one_thread"]  # fixtures
DEMO = Path(__file__).resolve().parents[3] / "recipes" / "demo"
KILLS = 6


@pytest.mark.slow
@pytest.mark.usefixtures("one_thread")
@pytest.mark.parametrize("loss", ["mio", "rloo"])
def test_kills_at_random_moments_of_rounds_change_nothing(tmp_path: Path, backend: str, loss: str) -> None:
    """kill -9 again and again, each time followed by `resume`: events and adapter are those of an undisturbed run."""
    tables = {
        "model": {"name": str(DEMO / "model")},
        "data": {"source": str(DEMO / "train.jsonl"), "eval_fraction": 0.1},
        "lora": {"rank": 4, "alpha": 8},
        "loss": {"name": loss, "reference": "previous"},
        "train": {"rounds": 3, "batch_size": 4, "learning_rate": 1e-3, "save_every": 2},
        "make": {"answers": 4, "answer_tokens": 48, "limit": 80, "per_round": 16, "rows": 8},
        "eval": {"every": 3, "sample_tokens": 0},
        "backend": {"name": backend, "device": "cpu"},
    }
    killed = Killed(tmp_path, tables, random.Random(11))
    process = killed.launch()
    while process.poll() is None and not killed.run.exists():
        time.sleep(0.01)
    process.kill()
    process.wait()
    for _ in range(KILLS):
        if not killed.kill_at_a_random_moment():
            break
    last = killed.launch()
    assert last.wait() in (0, 2), killed.log.read_text()  # 2: it was done already
    straight = run_through(tmp_path, "straight", tables)
    assert {event["type"] for event in repeatable(straight)} >= {"round", "reward", "step", "eval"}
    assert repeatable(killed.run) == repeatable(straight)
    assert files(killed.run.adapter) == files(straight.adapter)
