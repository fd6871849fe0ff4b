"""A LoRA adapter alone as GGUF: with the base's file it gives the merged one, by llama.cpp's formula."""

import json

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from mio_local.adapters.adapter import read_adapter
from mio_local.cli import run
from mio_local.errors import ModelError, RecipeError
from mio_local.gguf_files.gguf_adapter import write_adapter_gguf
from mio_local.gguf_files.gguf_config import read_plan
from mio_local.gguf_files.gguf_file import layout
from tests.helpers import families
from tests.helpers.backends import backend_of
from tests.helpers.exporting import write_checked
from tests.helpers.families import write_family
from tests.helpers.tiny_model import write_tiny_model, write_tokenizer

gguf = pytest.importorskip("gguf")
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning", "ignore::FutureWarning")
LAYERS = ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.o_proj", "mlp.down_proj")


def tensors_of(file):
    return {tensor.name: tensor.data for tensor in gguf.GGUFReader(file).tensors}


def peft_adapter(folder, base, rank=4, layers=LAYERS, **config):
    """An adapter as PEFT writes it, of random numbers."""
    rng, stored, weights = np.random.default_rng(1), load_file(base / "model.safetensors"), {}
    for block in (0, 1):
        for layer in layers:
            name = f"model.layers.{block}.{layer}"
            out, wide = stored[f"{name}.weight"].shape
            weights[f"base_model.model.{name}.lora_A.weight"] = rng.normal(size=(rank, wide)).astype(np.float32)
            weights[f"base_model.model.{name}.lora_B.weight"] = rng.normal(size=(out, rank)).astype(np.float32)
            if config.get("use_dora"):
                weights[f"base_model.model.{name}.lora_magnitude_vector"] = np.ones(out, np.float32)
    folder.mkdir()
    save_file(weights, folder / "adapter_model.safetensors", {"format": "pt"})
    settings = {"peft_type": "LORA", "r": rank, "lora_alpha": 8, "target_modules": [*layers], **config}
    settings["base_model_name_or_path"] = str(base)
    (folder / "adapter_config.json").write_text(json.dumps(settings))
    return folder


def export(adapter, *words):
    return run(["export", str(adapter), "--to", "gguf", *map(str, words)])


@pytest.mark.parametrize("config", [{}, {"use_rslora": True}, {"lora_alpha": 3.7}])
def test_base_and_adapter_are_the_merged_file(config, tmp_path):
    """W + alpha / rank B A of every adapted tensor, in llama.cpp's order of rows, is the merged file's tensor."""
    backend_of("cuda")
    base = write_tiny_model(tmp_path / "base")
    adapter = peft_adapter(tmp_path / "adapter", base, **config)
    assert export(adapter, "--adapter-only", "--out", tmp_path / "lora.gguf") == 0
    assert export(adapter, "--out", tmp_path / "merged.gguf") == 0
    write_checked(base, tmp_path / "base.gguf")
    plain, merged, lora = (tensors_of(tmp_path / f"{name}.gguf") for name in ("base", "merged", "lora"))
    reader = gguf.GGUFReader(tmp_path / "lora.gguf")
    said = {key: reader.get_field(key).contents() for key in
            ("general.type", "general.architecture", "adapter.type", "adapter.lora.alpha")}  # fmt: skip
    wanted = config.get("lora_alpha", 8) * (2 if config.get("use_rslora") else 1)  # alpha / sqrt(4), as alpha / 4
    assert said == {"general.type": "adapter", "general.architecture": "llama", "adapter.type": "lora",
                    "adapter.lora.alpha": pytest.approx(wanted)}  # fmt: skip
    names = {name.rpartition(".")[0] for name in lora}
    assert names == {f"blk.{block}.{layer}.weight" for block in (0, 1)
                     for layer in ("attn_q", "attn_k", "attn_v", "attn_output", "ffn_down")}  # fmt: skip
    for name in names:
        a, b = lora[f"{name}.lora_a"], lora[f"{name}.lora_b"]
        assert b.shape[1] == a.shape[0] == 4
        scale = said["adapter.lora.alpha"] / b.shape[1]
        np.testing.assert_allclose(plain[name] + scale * (b @ a), merged[name], rtol=1e-5, atol=1e-5)
    assert all(np.array_equal(plain[name], merged[name]) for name in plain.keys() - names)


@pytest.mark.parametrize("name", ["qwen3", "qwen2", "phi3"])
def test_other_families_have_their_own_names(name, tmp_path, monkeypatch):
    monkeypatch.setitem(families.FAMILIES, "phi3", families.Family("phi3", {"sliding_window": None}))
    base = write_family(tmp_path / "base", name, "cuda")
    write_tokenizer(base)
    layers = ["self_attn.qkv_proj" if name == "phi3" else "self_attn.q_proj", "mlp.down_proj"]
    saved = read_adapter(peft_adapter(tmp_path / "adapter", base, layers=layers))
    assert write_adapter_gguf(saved, layout(base).plan, base, tmp_path / "x.gguf", "auto", "x") == 8
    found = tensors_of(tmp_path / "x.gguf")
    query = "attn_qkv" if name == "phi3" else "attn_q"
    weight = saved.weights[f"model.layers.0.{layers[0]}.lora_B"]
    np.testing.assert_array_equal(found[f"blk.0.{query}.weight.lora_b"], weight)  # rows are not turned there


@pytest.mark.parametrize("kind", ["f16", "bf16"])
def test_in_16_bits(kind, tiny_model, tmp_path):
    saved = read_adapter(peft_adapter(tmp_path / "adapter", tiny_model))
    write_adapter_gguf(saved, read_plan(tiny_model), tiny_model, tmp_path / "x.gguf", kind, "x")
    found = {tensor.name: tensor for tensor in gguf.GGUFReader(tmp_path / "x.gguf").tensors}
    tensor = found["blk.0.ffn_down.weight.lora_a"]
    assert tensor.tensor_type.name == kind.upper()
    back = gguf.dequantize(tensor.data, tensor.tensor_type)
    step = 2.0 ** (-11 if kind == "f16" else -8)  # half of the last bit
    wanted = saved.weights["model.layers.0.mlp.down_proj.lora_A"]
    assert (np.abs(back - wanted) <= step * np.abs(wanted) + 1e-7).all()


def test_what_llama_cpp_has_no_adapter_for_is_refused(tmp_path):
    backend_of("cuda")
    base = write_tiny_model(tmp_path / "base")
    dora = peft_adapter(tmp_path / "dora", base, use_dora=True)
    with pytest.raises(ModelError, match=r"a DoRA adapter scales whole rows, .* leave --adapter-only out"):
        export(dora, "--adapter-only", "--out", tmp_path / "x.gguf")
    plain = peft_adapter(tmp_path / "plain", base)
    with pytest.raises(RecipeError, match="--quantize q8_0: an adapter's rows are too short for blocks; take f32, f16"):
        export(plain, "--adapter-only", "--quantize", "q8_0", "--out", tmp_path / "x.gguf")
    assert not list(tmp_path.glob("*.gguf"))


def test_an_adapters_folder_is_exported_beside_it(tmp_path, capsys):
    backend_of("cuda")
    adapter = peft_adapter(tmp_path / "adapter", write_tiny_model(tmp_path / "base"))
    assert export(adapter, "--adapter-only") == 0
    assert (tmp_path / "adapter-LoRA.gguf").exists()
    said = capsys.readouterr().out
    assert "adapter, the adapter alone, as gguf:" in said
    assert f"llama-cli -m BASE.gguf --lora {tmp_path / 'adapter-LoRA.gguf'} -p '...'" in said
    assert export(adapter) == 0
    assert (tmp_path / "adapter.gguf").exists()
