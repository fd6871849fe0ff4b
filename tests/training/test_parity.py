"""One recipe, two backends, one curve: real pairs, a real model, float32."""

from pathlib import Path

import pytest

from mio_local.backends import installed
from mio_local.recipe import build
from mio_local.runs.history import read
from mio_local.training.loop import train
from mio_local.training.prepare import start


@pytest.mark.slow
@pytest.mark.parametrize("loss", ["mio"])
def test_backends_give_the_same_loss_at_every_step(tmp_path: Path, shared: Path, loss: str) -> None:
    """20 steps of batch 4 at a rate that moves the loss: the curves stay within 1e-3 of each other, and begin equal."""
    pytest.importorskip("mlx.core")
    pytest.importorskip("peft")
    losses: dict[str, list[float]] = {}
    for backend in installed():
        tables = {
            "model": {"name": str(shared / "models" / "gsm8k-mini")},
            "data": {"source": str(shared / "data" / "gsm8k" / "train.jsonl"), "eval_fraction": 0, "limit": 200},
            "loss": {"name": loss},
            "train": {"steps": 20, "batch_size": 4, "learning_rate": 5e-4, "save_every": 0},
            "backend": {"name": backend, "device": "cpu"},
        }
        job = start(build(tables, "test"), tmp_path, backend)
        list(train(job))
        _, losses[backend] = read(job.run).series("step", "loss")
    first, *others = losses.values()
    assert len(first) == 20
    assert min(first) < first[0] - 0.01
    for other in others:
        assert [round(a - b, 3) for a, b in zip(first, other, strict=True)] == [0.0] * 20
        assert max(abs(a - b) for a, b in zip(first, other, strict=True)) < 1e-3
