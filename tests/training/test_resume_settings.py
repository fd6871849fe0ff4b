"""A run with settings that a tuner may choose, killed and resumed: to the bit what it would have been."""

from pathlib import Path
from typing import Any

import pytest

from mio_local.recipe import build, read_toml
from mio_local.training.loop import train
from mio_local.training.prepare import start
from mio_local.training.reopen import reopen
from tests.helpers.backends import BACKENDS, need_library
from tests.helpers.some import fast
from tests.training.test_resume import files, recipe_tables, repeatable, run_through

CHOSEN: dict[str, dict[str, dict[str, Any]]] = {
    "lion": {"train": {"optimizer": "lion", "learning_rate": 1e-4, "optimizer_args": {"beta2": 0.98}}},
    "muon": {"train": {"optimizer": "muon", "weight_decay": 0.01}, "lora": {"dora": True, "layers": 1}},
    "adamw_8bit": {"train": {"optimizer": "adamw_8bit"}, "lora": {"rank": 128}},
    "rsLoRA with LoRA+": {"train": {"loraplus_lr_ratio": 16}, "lora": {"rslora": True}},
    "patterns": {"lora": {"targets": [r".*\.(q|v|up)_proj"], "rank_pattern": {"1.self_attn.*": 3, "up_proj": 5},
                          "alpha_pattern": {"v_proj": 3.0}}},
    "robust": {"loss": {"name": "robust", "label_smoothing": 0.1}},
}
HERE = [(backend, name) for backend in BACKENDS for name in CHOSEN if (backend, name) != ("mlx", "adamw_8bit")]
SOON = [("mlx", "muon"), ("cuda", "patterns")]


@pytest.mark.parametrize("case", fast(HERE, SOON), ids="-".join)
def test_it_goes_on_to_the_bit(tmp_path: Path, tiny_model: Path, tiny_pairs: Path, case: tuple[str, str]) -> None:
    backend, name = case
    need_library(backend)
    if name == "adamw_8bit":
        pytest.importorskip("bitsandbytes")
    tables = recipe_tables(tiny_model, tiny_pairs, backend)
    tables["train"] |= {"steps": 5, "save_every": 2}
    for section, values in CHOSEN[name].items():
        tables[section] = tables.get(section, {}) | values
    straight = run_through(tmp_path, "straight", tables)
    frozen = build(read_toml(straight.recipe), "frozen")
    for section, values in CHOSEN[name].items():  # what was chosen is in the frozen recipe
        assert {key: getattr(getattr(frozen, section), key) for key in values} == values
    job = start(build(tables, "test"), tmp_path, "broken")
    events = train(job)
    while next(events).step < 3:
        pass
    events.close()
    job = reopen(job.run)
    assert job.progress.step == 2
    list(train(job))
    assert repeatable(job.run) == repeatable(straight)
    assert files(job.run.adapter) == files(straight.adapter)
