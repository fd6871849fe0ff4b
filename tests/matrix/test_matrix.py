"""Rows of the matrix: the families that people tune go from training to every export, or are told beforehand."""

import json

import numpy as np
import pytest
from safetensors import safe_open

from mio_local.cli import run
from mio_local.errors import RecipeError
from tests.helpers.backends import backend_of, load, logits
from tests.helpers.exporting import by_library
from tests.helpers.rounding import same_logits
from tests.helpers.some import fast
from tests.matrix.__main__ import walked
from tests.matrix.architectures import write_architecture
from tests.matrix.cells import walk

pytestmark = [
    pytest.mark.filterwarnings("ignore::UserWarning", "ignore::FutureWarning", "ignore::DeprecationWarning"),
]
SLOW = ("qwen3_5", "qwen3_next", "qwen2_moe", "mixtral", "lfm2_moe", "granitemoehybrid", "deepseek_v3", "jamba",
        "mamba", "nemotron_h", "falcon_h1", "mistral3", "qwen3_vl", "llama4", "apertus", "gpt_oss", "starcoder2",
        "falcon")  # fmt: skip
IDS = list(range(5, 40))


@pytest.fixture(scope="module", autouse=True)
def both_libraries():
    for name in ("mlx", "cuda"):
        backend_of(name)


@pytest.mark.parametrize("name", SLOW)
@pytest.mark.slow
def test_an_architecture_from_training_to_every_export(name, tmp_path):
    check(walked(name, tmp_path))


def check(rows):
    assert {backend: row.faults() for backend, row in rows.items()} == {"mlx": [], "cuda": []}
    assert any(row.said["train"] == "ok" for row in rows.values())


@pytest.mark.slow
def test_one_that_takes_pictures_and_the_two_libraries_names_in_it(tmp_path):
    check(walked("gemma3", tmp_path))
    for backend in ("mlx", "cuda"):
        exports = tmp_path / "gemma3" / backend / "runs" / "m" / "exports"
        for kind, file, prefix in (("peft", "adapter_model", "base_model.model.model.language_model.layers."),
                                   ("mlx", "adapters", "language_model.model.layers.")):  # fmt: skip
            with safe_open(exports / kind / f"{file}.safetensors", "np") as tensors:
                assert all(key.startswith(prefix) for key in tensors.keys())  # noqa: SIM118


def trained(name, backend, place, *more):
    base = write_architecture(name, place / "base")
    row = walk(base, backend, place / "run", *more)
    assert row.said["train"] == "ok", row.said
    return base, place / "run" / "runs" / "m", row


@pytest.mark.slow
@pytest.mark.parametrize("name", fast(["qwen3_moe", "granitemoe", "mixtral", "dots1"], ["qwen3_moe"]))
def test_experts_adapted_by_mlx_are_merged_for_transformers(name, tmp_path):
    """One by one, several in one tensor, or under Mixtral's names: whatever the files have, transformers then gives
    what MLX gives with the adapter."""
    base, made, row = trained(name, "mlx", tmp_path, "--targets", "gate_proj,up_proj,down_proj")
    assert row.said["merged"] == row.said["mlx"] == "ok"
    assert "is a stack of experts; it can with" not in row.told["peft"]  # of these targets none could
    assert "is a stack of experts" in row.told["peft"]
    ours = logits(by_library("mlx", base, made / "adapter"), IDS)
    assert np.abs(ours - logits(by_library("mlx", base), IDS)).max() > 0.1
    same_logits(logits(by_library("cuda", made / "exports" / "merged"), IDS), ours)


@pytest.mark.slow
def test_what_all_linear_leaves_out_is_told(tmp_path):
    _, made, _ = trained("falcon_h1", "cuda", tmp_path)
    notes = [json.loads(line) for line in (made / "events.jsonl").read_text().splitlines()]
    told = [note["text"] for note in notes if note.get("code") == "adapter"]
    assert "all-linear leaves out 3 layers (3 x PEFT adapts none of this name beside a Mamba kernel)" in told


def test_advice_is_made_of_this_models_own_names(tmp_path):
    base = write_architecture("deepseek_v3", tmp_path / "base")
    with pytest.raises(RecipeError, match=r"no linear layer matches.*; there are .*kv_a_proj_with_mqa.*q_a_proj"):
        run(words(base, tmp_path, "q_proj"))
    with pytest.raises(RecipeError, match=r"--targets gate_proj: PEFT takes its name for the stacked experts'; there"):
        run(words(base, tmp_path, "gate_proj"))


def words(base, folder, targets):
    data = folder / "pairs.jsonl"
    data.write_text('{"prompt": "a", "chosen": " b", "rejected": " c"}\n' * 3)
    return ["train", "--model", str(base), "--data", str(data), "--backend", "cuda", "--device", "cpu", "--targets",
            targets, "--runs", str(folder / "runs")]  # fmt: skip


@pytest.mark.parametrize("name", ["llama4", "falcon"])
def test_what_only_inherits_from_linear_is_adapted_if_it_is_one(name, tmp_path):
    model = load("cuda", write_architecture(name, tmp_path / name))
    kinds = {layer.rpartition(".")[2] for layer in model.linear_layers()}
    assert ("router" in kinds, "query_key_value" in kinds) == (False, name == "falcon")
