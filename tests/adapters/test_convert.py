"""Adapters from mlx-lm's format to PEFT's and back: the same bits, settings, and logits in both libraries."""

import json
from dataclasses import replace

import ml_dtypes
import numpy as np
import pytest
from safetensors.numpy import load_file

from mio_local.adapters.adapter import FILES, read_adapter
from mio_local.adapters.convert import exact_alpha, write_adapter
from mio_local.errors import ModelError
from mio_local.models.weights import linear_names
from tests.helpers.backends import BACKENDS, LORA, logits, move, noisy, start
from tests.helpers.families import write_family
from tests.helpers.json_edits import edit_json
from tests.helpers.rounding import same_logits
from tests.helpers.some import fast

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning", "ignore::FutureWarning")
ATTENTION = ["q_proj", "k_proj", "v_proj", "o_proj"]
KINDS = {
    "all layers": LORA,
    "last two": LORA.model_copy(update={"layers": 2}),
    "attention": LORA.model_copy(update={"targets": ATTENTION, "rank": 3, "alpha": 5.0}),
    "attention of the last": LORA.model_copy(update={"targets": ATTENTION, "layers": 1}),
    "rank-stabilised": LORA.model_copy(update={"rslora": True, "rank": 3}),
    "patterns": LORA.model_copy(update={"rank_pattern": {"q_proj": 2, r"1\.mlp\..*": 8}, "layers": 2}),
    "dora": LORA.model_copy(update={"dora": True}),
    "dora, last two": LORA.model_copy(update={"dora": True, "layers": 2, "targets": ["v_proj", "down_proj"]}),
}
OTHER = {"mlx": "peft", "peft": "mlx"}
LIBRARY = {"mlx": "mlx", "peft": "cuda"}
IDS = list(range(5, 30))


@pytest.fixture(scope="module", params=["llama", "llama3"])  # llama3's embeddings are tied
def base(request, tmp_path_factory):
    """A model that either library reads."""
    return write_family(tmp_path_factory.mktemp("base") / request.param, request.param, "mlx")


def by_library(kind, base, adapter):
    """The base with the adapter, as a user without mio-local loads it."""
    if kind == "mlx":
        from mlx_lm.tuner.utils import load_adapters
        from mlx_lm.utils import load_model

        return load_adapters(load_model(base)[0], str(adapter))
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    return PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(base), adapter)


@pytest.mark.parametrize("kind", fast(KINDS, ["all layers", "attention of the last", "patterns", "dora, last two"]))
@pytest.mark.parametrize("backend", BACKENDS)
def test_there_and_back(backend, kind, base, tmp_path):
    """Each library's own file of a model in memory, converted: the other library's logits are the model's."""
    model = start(backend, base, lora=KINDS[kind])
    move(model, noisy(model.get_adapter()))
    model.save_adapter(tmp_path / "own")
    saved = read_adapter(tmp_path / "own")
    other = OTHER[saved.kind]
    write_adapter(saved, other, tmp_path / "other", linear_names(base))
    for folder, library in (("own", saved.kind), ("other", other)):
        found = logits(by_library(library, base, tmp_path / folder), IDS)
        same_logits(found, logits(model, IDS))
    write_adapter(read_adapter(tmp_path / "other"), saved.kind, tmp_path / "back", linear_names(base))
    first, last = (load_file(tmp_path / name / FILES[saved.kind]) for name in ("own", "back"))
    assert first.keys() == last.keys()
    assert all(first[key].tobytes() == last[key].tobytes() and first[key].dtype == last[key].dtype for key in first)
    settings = [json.loads((tmp_path / name / "adapter_config.json").read_text()) for name in ("own", "back")]
    assert settings[0] == settings[1]
    forgetful = replace(read_adapter(tmp_path / "other"), origin={})  # what is made anew says as much
    write_adapter(forgetful, saved.kind, tmp_path / "anew", linear_names(base))
    made = json.loads((tmp_path / "anew" / "adapter_config.json").read_text())
    for key in ("num_layers", "fine_tune_type", "r", "lora_alpha", "use_dora", "layers_to_transform"):
        assert made.get(key) == settings[0].get(key), key
    assert made.get("lora_parameters") == settings[0].get("lora_parameters")
    assert set(made.get("target_modules", [])) == set(settings[0].get("target_modules", []))
    np.testing.assert_array_equal(logits(by_library(saved.kind, base, tmp_path / "anew"), IDS),
                                  logits(by_library(saved.kind, base, tmp_path / "own"), IDS))  # fmt: skip
    assert not (tmp_path / "other" / FILES[saved.kind]).exists()


@pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.bfloat16])
@pytest.mark.parametrize("backend", BACKENDS)
def test_sixteen_bits_stay_as_they_are(backend, dtype, base, tmp_path):
    from safetensors.numpy import save_file

    start(backend, base).save_adapter(tmp_path / "own")
    kind = read_adapter(tmp_path / "own").kind
    file = tmp_path / "own" / FILES[kind]
    rng = np.random.default_rng(0)
    first = {key: rng.normal(0, 1e-3, value.shape).astype(dtype) for key, value in load_file(file).items()}
    save_file(first, file)
    write_adapter(read_adapter(tmp_path / "own"), OTHER[kind], tmp_path / "other")
    assert {value.dtype for value in load_file(tmp_path / "other" / FILES[OTHER[kind]]).values()} == {np.dtype(dtype)}
    write_adapter(read_adapter(tmp_path / "other"), kind, tmp_path / "back")
    last = load_file(tmp_path / "back" / FILES[kind])
    assert all(first[key].tobytes() == last[key].tobytes() for key in first)


def test_full_names_need_no_base(base, tmp_path):
    model = start("mlx", base, lora=KINDS["last two"])
    move(model, noisy(model.get_adapter()))
    model.save_adapter(tmp_path / "mlx")
    write_adapter(read_adapter(tmp_path / "mlx"), "peft", tmp_path / "peft")
    names = json.loads((tmp_path / "peft" / "adapter_config.json").read_text())["target_modules"]
    assert "model.layers.1.self_attn.q_proj" in names
    same_logits(logits(by_library("peft", base, tmp_path / "peft"), IDS), logits(model, IDS))


def test_rank_stabilised_adapters_keep_their_scale_and_come_back(base, tmp_path):
    """alpha 8 at rank 4 is a scale of 8 / sqrt(4) = 4."""
    model = start("cuda", base)
    move(model, noisy(model.get_adapter()))
    model.save_adapter(tmp_path / "peft")
    file = tmp_path / "peft" / "adapter_config.json"
    edit_json(file, use_rslora=True)
    write_adapter(read_adapter(tmp_path / "peft"), "mlx", tmp_path / "mlx", linear_names(base))
    assert json.loads((tmp_path / "mlx" / "adapter_config.json").read_text())["lora_parameters"]["scale"] == 4
    theirs = logits(by_library("peft", base, tmp_path / "peft"), IDS)
    same_logits(logits(by_library("mlx", base, tmp_path / "mlx"), IDS), theirs)
    write_adapter(read_adapter(tmp_path / "mlx"), "peft", tmp_path / "back")
    assert json.loads((tmp_path / "back" / "adapter_config.json").read_text()) == json.loads(file.read_text())


@pytest.mark.parametrize(("scale", "rank"), [(20.0, 8), (2.0, 8), (16 / 12, 12), (0.1, 7), (10 / 3, 3), (1e-3, 64)])
def test_alpha_gives_the_scale_to_the_bit(scale, rank):
    alpha = exact_alpha(scale, rank)
    assert alpha / rank == scale
    assert alpha == pytest.approx(scale * rank)


def test_alpha_is_whole_where_it_can_be():
    assert exact_alpha(16 / 12, 12) == 16
    assert isinstance(exact_alpha(20.0, 8), int)


def test_stacked_experts_have_no_peft_form(base, tmp_path):
    start("mlx", base).save_adapter(tmp_path / "mlx")
    saved = read_adapter(tmp_path / "mlx")
    saved.weights[next(iter(saved.weights))] = np.zeros((4, 2, 3), np.float32)
    with pytest.raises(ModelError, match=r"stacked experts.*--to mlx"):
        write_adapter(saved, "peft", tmp_path / "peft")
