"""GGUF in blocks: which tensors, by what bound, by whose program; and what is told where that program is not there."""

import json
import os

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from mio_local.cli import run
from mio_local.errors import ModelError, RecipeError
from mio_local.gguf_files import gguf_types
from mio_local.gguf_files.gguf_convert import QUANTIZE
from mio_local.gguf_files.gguf_types import made_here, type_of
from tests.export.programs import put_program
from tests.helpers.exporting import changed, train, write_checked
from tests.helpers.tiny_model import write_tiny_model

gguf = pytest.importorskip("gguf")
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning", "ignore::FutureWarning")


def tensors_of(file):
    return {tensor.name: tensor for tensor in gguf.GGUFReader(file).tensors}


def dequantised_q8_0(data):
    """Rows of blocks of 34 bytes, a float16 d and 32 signed bytes q, as numbers d q; and the d of each number."""
    blocks = data.reshape(len(data), -1, 34)
    d = blocks[..., :2].copy().view(np.float16).astype(np.float64)
    values = d * blocks[..., 2:].view(np.int8)
    return values.reshape(len(data), -1), np.broadcast_to(d, values.shape).reshape(len(data), -1)


def test_q8_0_of_a_real_model_is_within_its_own_bound(shared, tmp_path):
    """q = round(x / d) with |q| <= 127, d = max|x| / 127 kept in float16: |x - d16 q| <= d / 2 + 127 |d - d16|, and d16
    is d within 2^-11 of it, or within half of float16's smallest step where that is larger."""
    folder = shared / "models" / "gsm8k-mini"
    write_checked(folder, tmp_path / "x.gguf", "q8_0")
    found, stored = tensors_of(tmp_path / "x.gguf"), load_file(folder / "model.safetensors")
    names = {"model.embed_tokens": "token_embd", "model.layers.1.mlp.down_proj": "blk.1.ffn_down",
             "model.layers.3.self_attn.v_proj": "blk.3.attn_v"}  # fmt: skip
    for name, place in names.items():
        tensor = found[f"{place}.weight"]
        assert tensor.tensor_type.name == "Q8_0", place
        weight = stored[f"{name}.weight"].astype(np.float64)
        values, d = dequantised_q8_0(tensor.data)
        error = np.abs(values - weight)
        assert (error <= d / 2 + 127 * np.maximum(d * 2.0**-11, 2.0**-25) + 1e-9).all(), place
        assert error.max() > 0  # it is rounded
    kinds = {name: tensor.tensor_type.name for name, tensor in found.items()}
    assert {kind for name, kind in kinds.items() if name.endswith("_norm.weight")} == {"F32"}
    assert set(kinds.values()) == {"Q8_0", "F32"}
    assert gguf.GGUFReader(tmp_path / "x.gguf").get_field("general.file_type").contents() == 7
    assert (tmp_path / "x.gguf").stat().st_size < 0.3 * (folder / "model.safetensors").stat().st_size


def test_what_is_made_here_is_asked_of_the_package(monkeypatch):
    """Each of the package's types, tried; K-quants raise NotImplementedError there."""
    able = set()
    for kind in gguf.GGMLQuantizationType:
        try:
            gguf.quantize(np.zeros((1, 256), np.float32), kind)
            able.add(kind.name.lower())
        except NotImplementedError:
            pass
    assert {"q8_0", "q4_0", "f16", "bf16"} <= set(made_here()) <= able
    assert not {"q6_k", "q4_k_m"} & set(made_here())
    monkeypatch.setattr(gguf_types, "_quantises", lambda gguf, kind: kind.name == "Q6_K")
    made_here.cache_clear()
    assert made_here() == ("q6_k",)  # a package that learns it
    monkeypatch.undo()
    made_here.cache_clear()


@pytest.mark.parametrize(("kind", "name", "shape", "tied", "wanted"), [
    ("q8_0", "blk.0.attn_q.weight", (64, 64), False, "Q8_0"),
    ("q8_0", "blk.0.attn_q.weight", (64, 48), False, "BF16"),  # no whole blocks of 32
    ("q8_0", "blk.0.attn_norm.weight", (64,), False, "F32"),
    ("q8_0", "blk.0.attn_q.bias", (64,), False, "F32"),
    ("q4_0", "blk.0.ffn_up.weight", (64, 64), False, "Q4_0"),
    ("q4_0", "output.weight", (64, 64), False, "Q8_0"),
    ("q4_0", "token_embd.weight", (64, 64), False, "Q4_0"),
    ("q4_0", "token_embd.weight", (64, 64), True, "Q8_0"),
    ("q4_0", "output.weight", (64, 40), False, "BF16"),
    ("f16", "output.weight", (64, 40), False, "F16"),
    ("auto", "output.weight", (64, 40), False, "BF16"),
])  # fmt: skip
def test_which_type_a_tensor_gets(kind, name, shape, tied, wanted):
    assert type_of(kind, name, shape, "BF16", tied=tied) == wanted


@pytest.mark.parametrize("kind", ["q4_0", "q4_1", "q5_0", "q5_1", "q8_0"])
def test_every_kind_is_read_back(kind, shared, tmp_path):
    write_checked(shared / "models" / "stories260k", tmp_path / "x.gguf", kind)
    kinds = {tensor.tensor_type.name for tensor in tensors_of(tmp_path / "x.gguf").values()}
    assert kind.upper() in kinds


def test_gemmas_norms_keep_their_one(tiny_model, tmp_path):
    base = changed(tiny_model, tmp_path / "base", model_type="gemma", head_dim=8, tie_word_embeddings=True,
                   hidden_activation="gelu_pytorch_tanh")  # fmt: skip
    stored = load_file(base / "model.safetensors")
    del stored["lm_head.weight"]
    save_file(stored, base / "model.safetensors", {"format": "pt"})
    write_checked(base, tmp_path / "x.gguf", "q8_0")
    norm = stored["model.norm.weight"]
    np.testing.assert_array_equal(tensors_of(tmp_path / "x.gguf")["output_norm.weight"].data, norm + np.float32(1))


def test_large_tensors_are_made_a_slice_at_a_time(shared, tmp_path, monkeypatch):
    folder = shared / "models" / "gsm8k-mini"
    write_checked(folder, tmp_path / "whole.gguf", "q8_0")
    monkeypatch.setattr(gguf_types, "SLICE", 7 * 192)
    write_checked(folder, tmp_path / "sliced.gguf", "q8_0")
    assert (tmp_path / "whole.gguf").read_bytes() == (tmp_path / "sliced.gguf").read_bytes()


@pytest.fixture(scope="module")
def trained(tiny_pairs, tmp_path_factory):
    folder = tmp_path_factory.mktemp("quantised")
    base = write_tiny_model(folder / "base")
    return train(folder / "runs", base, tiny_pairs, "cuda", "My-Run", "--steps", "2", "--learning-rate", "1e-5")


def export(trained, *words):
    return run(["export", str(trained.path), "--to", "gguf", *map(str, words)])


COPIES = """
import json, shutil, sys
json.dump(sys.argv[1:], open({log!r}, "w"))
print("[   1/  21] blk.0.attn_k.weight - converting")
print("main: quantize time = 1 ms")
{body}
"""


def test_k_quants_are_llama_quantizes(trained, tmp_path, monkeypatch, capsys):
    log = tmp_path / "log.json"
    copies = COPIES.format(log=str(log), body="shutil.copy(sys.argv[1], sys.argv[2])")
    put_program(tmp_path / "bin", QUANTIZE, copies, monkeypatch)
    monkeypatch.setenv("MIO_LOCAL_PROGRESS", "json")
    assert export(trained, "--quantize", "Q4_K_M") == 0
    place = trained.path / "exports" / "My-Run-Q4_K_M.gguf"
    assert place.exists()
    said = capsys.readouterr()
    assert "then quantised to q4_k_m by llama-quantize, as many tensors of the same shapes" in said.out
    assert {"doing": "quantising by llama-quantize", "done": 1, "total": 21} in [
        json.loads(line) for line in said.err.splitlines() if line.startswith("{")
    ]  # fmt: skip
    plain, made, kind, threads = json.loads(log.read_text())
    assert (kind, os.path.basename(made)) == ("Q4_K_M", place.name)
    assert int(threads) >= 1
    assert not os.path.exists(plain)  # what it was made from went
    assert sorted(file.name for file in place.parent.iterdir()) == ["Modelfile", place.name]


@pytest.mark.parametrize(("body", "said"), [
    ("raise SystemExit('main: failed to quantize: no imatrix')", "llama-quantize: failed: main: failed to quant"),
    ("open(sys.argv[2], 'w').write('nothing')", "llama-quantize: wrote no usable file"),
    ("pass", "llama-quantize: wrote no usable file"),
])  # fmt: skip
def test_a_failing_llama_quantize_is_told(body, said, trained, tmp_path, monkeypatch):
    put_program(tmp_path / "bin", QUANTIZE, COPIES.format(log=str(tmp_path / "log"), body=body), monkeypatch)
    with pytest.raises(ModelError, match=said):
        export(trained, "--quantize", "q6_k", "--out", tmp_path / "x.gguf")
    assert not (tmp_path / "x.gguf").exists()


def test_without_llama_quantize_the_way_to_it_is_told(trained, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(RecipeError, match=r"--quantize q6_k: is made by llama\.cpp's llama-quantize, which is not on "
                                          r"PATH; install llama\.cpp .*, or take q8_0"):
        export(trained, "--quantize", "q6_k", "--out", tmp_path / "x.gguf")


def test_the_types_are_named_in_the_file(trained, tmp_path, capsys):
    assert export(trained, "--quantize", "q8_0") == 0
    assert (trained.path / "exports" / "My-Run-Q8_0.gguf").exists()
    assert "equal to the merged weights, but for the rounding of q8_0" in capsys.readouterr().out


@pytest.mark.parametrize("way", ["environment", "path"])
def test_llama_cpps_converter_where_ours_has_none(way, trained, tmp_path, monkeypatch, capsys):
    """A base of a type of which ours knows nothing: told, or converted by the program that is found."""
    write_checked(trained.path.parents[1] / "base", tmp_path / "made.gguf")
    monkeypatch.setattr("mio_local.gguf_files.gguf_config.FAMILIES", {})
    monkeypatch.delenv("MIO_LOCAL_LLAMA_CPP", raising=False)
    with pytest.raises(ModelError, match=r"a llama model cannot be written as GGUF here.*; give --llama-cpp DIR, .*, "
                                         r"or set MIO_LOCAL_LLAMA_CPP to one, or put its convert_hf_to_gguf\.py on"):
        export(trained, "--out", tmp_path / "x.gguf")
    body = f"import shutil, sys\nshutil.copy({str(tmp_path / 'made.gguf')!r}, sys.argv[3])\n"
    put_program(tmp_path / "lc", "convert_hf_to_gguf.py", body, monkeypatch if way == "path" else None)
    if way == "environment":
        monkeypatch.setenv("MIO_LOCAL_LLAMA_CPP", str(tmp_path / "lc"))
    assert export(trained, "--out", tmp_path / "x.gguf") == 0
    said = capsys.readouterr().out
    assert "21 tensors, written by llama.cpp's own converter" in said
    assert "a llama model cannot be written as GGUF here, only , so " in said
    monkeypatch.setenv("MIO_LOCAL_LLAMA_CPP", str(tmp_path / "nowhere"))
    with pytest.raises(RecipeError, match=r"MIO_LOCAL_LLAMA_CPP .*nowhere: has no convert_hf_to_gguf\.py"):
        export(trained, "--out", tmp_path / "y.gguf")
