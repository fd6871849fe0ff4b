"""Trained runs as GGUF: read back by the gguf package, refused where llama.cpp has no place for them."""

import json
import shutil
import sys

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from mio_local.cli import run
from mio_local.errors import BackendError, ModelError, RecipeError, RunError
from mio_local.gguf_files import gguf_file
from mio_local.gguf_files.gguf_file import layout
from tests.helpers.exporting import changed, retoken, train, write_checked
from tests.helpers.tiny_model import write_tiny_model

gguf = pytest.importorskip("gguf")
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning", "ignore::FutureWarning")


def read(file):
    """Metadata and tensors by name."""
    reader = gguf.GGUFReader(file)
    return {key: field.contents() for key, field in reader.fields.items()}, {one.name: one for one in reader.tensors}


@pytest.fixture(scope="module")
def trained(tiny_pairs, tmp_path_factory):
    folder = tmp_path_factory.mktemp("gguf")
    base = write_tiny_model(folder / "base")
    return train(folder / "runs", base, tiny_pairs, "cuda", "My-Run", "--steps", "2")


def export(trained, *words):
    return run(["export", str(trained.path), "--to", "gguf", *map(str, words)])


def test_a_run_as_gguf_and_what_loads_it(trained, tmp_path, capsys):
    assert export(trained) == 0
    place = trained.path / "exports" / "My-Run.gguf"
    assert sorted(file.name for file in place.parent.iterdir()) == ["Modelfile", place.name]
    said = capsys.readouterr().out
    assert "its logits equal the app's to " in said
    assert "21 tensors, read back and equal to the merged weights\n" in said
    assert f"llama-cli -m {place} -p '...'" in said
    assert f"ollama create my-run -f {place.with_name('Modelfile')}" in said
    assert f"lms import {place}" in said
    assert run(["export", str(trained.path), "--to", "merged", "--out", str(tmp_path / "merged")]) == 0
    merged, (values, tensors) = load_file(tmp_path / "merged" / "model.safetensors"), read(place)
    assert values["general.name"] == "My-Run"
    assert values["general.architecture"] == "llama"
    np.testing.assert_array_equal(tensors["token_embd.weight"].data, merged["model.embed_tokens.weight"])
    np.testing.assert_array_equal(tensors["blk.1.ffn_up.weight"].data, merged["model.layers.1.mlp.up_proj.weight"])
    # row 2 i + s of a head is row i of its half s; heads of 8 rows here
    key = merged["model.layers.0.self_attn.k_proj.weight"]
    np.testing.assert_array_equal(tensors["blk.0.attn_k.weight"].data[:8], key[[0, 4, 1, 5, 2, 6, 3, 7]])


def test_nothing_is_overwritten_and_nothing_is_left(trained, tmp_path, monkeypatch):
    place = tmp_path / "there.gguf"
    place.touch()
    with pytest.raises(RunError, match=r"there\.gguf: is there already"):
        export(trained, "--out", place)
    monkeypatch.setattr(gguf_file, "turned", lambda plan, name, weight: weight.astype(np.float32) + 1)
    with pytest.raises(ModelError, match=r"new\.gguf: not published: .*weight differs from the merged weight by 1"):
        export(trained, "--out", tmp_path / "new.gguf")
    assert list(tmp_path.iterdir()) == [place]


@pytest.mark.parametrize("kind", ["f16", "bf16", "f32", "auto"])
def test_types_of_the_tensors(trained, kind, tmp_path):
    assert export(trained, "--gguf-type", kind, "--out", tmp_path / "x.gguf") == 0
    values, tensors = read(tmp_path / "x.gguf")
    kinds = {name: tensor.tensor_type.name for name, tensor in tensors.items()}
    wanted = "F32" if kind == "auto" else kind.upper()
    assert values["general.file_type"] == {"F32": 0, "F16": 1, "BF16": 32}[wanted]
    assert {kinds["token_embd.weight"], kinds["blk.0.attn_q.weight"]} == {wanted}
    assert {kinds["blk.0.attn_norm.weight"], kinds["output_norm.weight"]} == {"F32"}


def test_weights_beyond_float16_are_told(tiny_model, tmp_path):
    base = shutil.copytree(tiny_model, tmp_path / "base")
    stored = load_file(base / "model.safetensors")
    stored["lm_head.weight"][3, 3] = 1e5
    save_file(stored, base / "model.safetensors", {"format": "pt"})
    with pytest.raises(ModelError, match=r"output\.weight has 1e\+05, which float16 cannot hold; add --quantize bf16"):
        write_checked(base, tmp_path / "x.gguf", "f16")
    write_checked(base, tmp_path / "y.gguf", "bf16")


def test_what_there_is_not_is_refused(trained, tmp_path):
    for words, said in (
        (["--quantize", "q8"], r"--quantize q8: no such type \(nearest: q8_0\); there are auto, bf16, f16, f32, q4_0"),
        (["--quantize", "4"], r"--quantize 4: no such type"),
        (["--gguf-type", "q4"], "--gguf-type q4: no such type"),
        (["--gguf-type", "f16", "--quantize", "f32"], "--gguf-type f16: says another type than --quantize"),
        (["--name", "x"], "--name x: only with --to ollama or lmstudio"),
        (["--llama-cpp", tmp_path], r"has no convert_hf_to_gguf\.py; give a checkout of llama\.cpp"),
    ):
        with pytest.raises(RecipeError, match=said):
            export(trained, "--out", tmp_path / "x.gguf", *words)
    for to, words, said in (
        ("mlx", ["--gguf-type", "f16"], "--gguf-type f16: only with --to gguf, ollama or lmstudio"),
        ("peft", ["--adapter-only"], "--adapter-only: only with --to gguf"),
        ("merged", ["--quantize", "q8_0"], "--quantize q8_0: .* --to merged takes 4 or 8"),
        ("peft", ["--quantize", "4"], "--quantize 4: .* --to peft takes none"),
    ):
        with pytest.raises(RecipeError, match=said):
            run(["export", str(trained.path), "--to", to, *words])
    assert not list(tmp_path.iterdir())


def test_a_missing_package_is_told(trained, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "gguf", None)
    with pytest.raises(BackendError, match=r"gguf is not installed; pip install -e '.*\[export\]'"):
        export(trained, "--out", tmp_path / "x.gguf")


SCRIPT = """
import shutil, sys
assert sys.argv[2::2] == ["--outfile", "--outtype"], sys.argv
{body}
"""


def test_llama_cpps_own_converter(trained, tmp_path, capsys):
    (tmp_path / "lc").mkdir()
    script = tmp_path / "lc" / "convert_hf_to_gguf.py"
    write_checked(trained.path.parents[1] / "base", tmp_path / "made.gguf")
    script.write_text(SCRIPT.format(body=f"shutil.copy({str(tmp_path / 'made.gguf')!r}, sys.argv[3])"))
    assert export(trained, "--llama-cpp", tmp_path / "lc", "--out", tmp_path / "x.gguf") == 0
    assert "21 tensors, written by llama.cpp's own converter" in capsys.readouterr().out
    script.write_text(SCRIPT.format(body="print('noise', file=sys.stderr); raise SystemExit('Model X not supported')"))
    with pytest.raises(ModelError, match=r"convert_hf_to_gguf\.py: failed: Model X not supported"):
        export(trained, "--llama-cpp", tmp_path / "lc", "--out", tmp_path / "y.gguf")
    other = write_tiny_model(tmp_path / "other", blocks=1)
    write_checked(other, tmp_path / "other.gguf")
    script.write_text(SCRIPT.format(body=f"shutil.copy({str(tmp_path / 'other.gguf')!r}, sys.argv[3])"))
    with pytest.raises(ModelError, match="not published: it has 1 blocks, and the model 2"):
        export(trained, "--llama-cpp", tmp_path / "lc", "--out", tmp_path / "y.gguf")
    assert not (tmp_path / "y.gguf").exists()


def test_a_real_model_is_read_back(shared, tmp_path):
    folder = shared / "models" / "gsm8k-mini"
    write_checked(folder, tmp_path / "x.gguf")
    values, tensors = read(tmp_path / "x.gguf")
    config = json.loads((folder / "config.json").read_text())
    described = json.loads((folder / "tokenizer.json").read_text())
    for key, name in {"block_count": "num_hidden_layers", "embedding_length": "hidden_size", "vocab_size": "vocab_size",
                      "attention.head_count": "num_attention_heads", "attention.key_length": "head_dim",
                      "context_length": "max_position_embeddings", "feed_forward_length": "intermediate_size"}.items():
        assert values[f"llama.{key}"] == config[name], key
    assert values["llama.attention.layer_norm_rms_epsilon"] == pytest.approx(config["rms_norm_eps"])
    assert values["llama.rope.freq_base"] == config["rope_parameters"]["rope_theta"]
    assert values["tokenizer.ggml.tokens"] == sorted(described["model"]["vocab"], key=described["model"]["vocab"].get)
    assert values["tokenizer.ggml.merges"] == [" ".join(pair) for pair in described["model"]["merges"]]
    assert values["tokenizer.ggml.token_type"] == [3] * 3 + [1] * 3069
    assert [values[f"tokenizer.ggml.{key}"] for key in ("model", "pre", "bos_token_id", "eos_token_id",
            "padding_token_id", "add_bos_token", "add_eos_token")] == ["gpt2", "smollm", 1, 2, 0, True, False]
    assert values["tokenizer.chat_template"] == (folder / "chat_template.jinja").read_text()
    assert "output.weight" not in tensors  # the embedding


def test_a_sentencepiece_tokenizer_is_read_back(shared, tmp_path):
    folder = shared / "models" / "stories260k"
    write_checked(folder, tmp_path / "x.gguf")
    values, _ = read(tmp_path / "x.gguf")
    merges = json.loads((folder / "tokenizer.json").read_text())["model"]["merges"]
    scores = dict(zip(values["tokenizer.ggml.tokens"], values["tokenizer.ggml.scores"], strict=True))
    made = list(dict.fromkeys(left + right for left, right in merges))
    assert sorted(made, key=lambda token: -scores[token]) == made
    assert values["tokenizer.ggml.token_type"][:4] == [2, 3, 3, 6]
    assert [values[f"tokenizer.ggml.{key}"] for key in ("model", "add_space_prefix", "add_bos_token")] == [
        "llama", True, True
    ]  # fmt: skip


def piece(text, score):
    """A piece of a tokenizer.model: sentencepiece's ModelProto, field 1."""
    body = b"\x0a" + bytes([len(text.encode())]) + text.encode() + b"\x15" + np.float32(score).tobytes()
    return b"\x0a" + bytes([len(body)]) + body


def test_scores_are_those_of_tokenizer_model(shared, tmp_path):
    folder = shutil.copytree(shared / "models" / "stories260k", tmp_path / "base")
    vocabulary = json.loads((folder / "tokenizer.json").read_text())["model"]["vocab"]
    (folder / "tokenizer.model").write_bytes(b"".join(piece(text, -number) for text, number in vocabulary.items()))
    values = layout(folder).vocabulary.values
    assert values["tokenizer.ggml.scores"] == [0.0] * 3 + [-float(number) for number in range(3, 512)]
    (folder / "tokenizer.model").write_bytes(b"\x0a\xff")
    assert layout(folder).vocabulary.values["tokenizer.ggml.scores"] != values["tokenizer.ggml.scores"]


def test_sentencepiece_that_scores_cannot_say_is_refused(shared, tmp_path):
    folder = shared / "models" / "stories260k"
    with pytest.raises(ModelError, match=r"never joins 'h' and 'e', which llama\.cpp does"):
        layout(retoken(folder, tmp_path / "a", lambda found: found["model"]["merges"].remove(["h", "e"])))

    def lower(found):
        found["normalizer"] = {"type": "Lowercase"}

    with pytest.raises(ModelError, match=r"treats spaces as llama\.cpp cannot"):
        layout(retoken(folder, tmp_path / "b", lower))


def test_tokenizers_that_llama_cpp_has_not_are_refused(tiny_model, tmp_path):
    def split(found):
        found["pre_tokenizer"] = {"type": "Sequence", "pretokenizers": [
            {"type": "Split", "pattern": {"Regex": "[aeiou]"}, "behavior": "Isolated", "invert": False},
            found["pre_tokenizer"]]}

    with pytest.raises(ModelError, match=r"no name for how its tokenizer cuts text, \('\[aeiou\]', .*--llama-cpp DIR"):
        layout(retoken(tiny_model, tmp_path / "a", split))

    def whole(found):
        found["pre_tokenizer"] = {"type": "Whitespace"}

    with pytest.raises(ModelError, match="does not end in bytes"):
        layout(retoken(tiny_model, tmp_path / "b", whole))

    def lower(found):
        found["normalizer"] = {"type": "Lowercase"}

    with pytest.raises(ModelError, match="changes text before cutting it"):
        layout(retoken(tiny_model, tmp_path / "c", lower))


@pytest.mark.parametrize(("config", "said"), [
    ({"model_type": "lfm2"}, "a lfm2 model cannot be written as GGUF here, only llama, mistral, .*--llama-cpp DIR"),
    ({"hidden_act": "relu"}, r"config\.json: hidden_act is relu; llama\.cpp has silu for llama"),
    ({"model_type": "qwen3", "rope_parameters": {"rope_type": "llama3", "rope_theta": 1e4, "factor": 4.0,
      "low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 16}},
     "rope_type is llama3, in a way that llama.cpp has not for qwen3"),
    ({"model_type": "gemma2", "query_pre_attn_scalar": 12}, "query_pre_attn_scalar is 12; llama.cpp has 8 for gemma2"),
])  # fmt: skip
def test_models_that_llama_cpp_computes_otherwise_are_refused(tiny_model, config, said, tmp_path):
    with pytest.raises(ModelError, match=said):
        layout(changed(tiny_model, tmp_path / "base", **config))


def test_a_window_that_llama_cpp_has_not_is_a_note(tiny_model, tmp_path):
    made = layout(changed(tiny_model, tmp_path / "base", model_type="mistral", sliding_window=64))
    assert made.notes == ("llama.cpp has no sliding window for llama: beyond 64 tokens it sees all of them",)


def test_a_tensor_without_a_place_is_told(tiny_model, tmp_path):
    base = shutil.copytree(tiny_model, tmp_path / "base")
    stored = load_file(base / "model.safetensors")
    save_file({**stored, "model.layers.0.extra.weight": np.ones((2, 2), np.float32)}, base / "model.safetensors",
              {"format": "pt"})  # fmt: skip
    with pytest.raises(ModelError, match=r"llama\.cpp has no place for model\.layers\.0\.extra\.weight \(F32\)"):
        write_checked(base, tmp_path / "x.gguf")


def test_more_ends_than_one(tiny_model, tmp_path):
    base = shutil.copytree(tiny_model, tmp_path / "base")
    (base / "generation_config.json").write_text(json.dumps({"eos_token_id": [257, 256]}))
    values = layout(base).vocabulary.values
    assert (values["tokenizer.ggml.eos_token_id"], values["tokenizer.ggml.eot_token_id"]) == (257, 256)
