"""GGUF of models with odd settings: told or written right, and never waited for."""

import time

import pytest

from mio_local.errors import ModelError
from mio_local.gguf_files.gguf_config import read_plan
from mio_local.gguf_files.gguf_convert import SCRIPT, convert, converter
from mio_local.gguf_files.gguf_file import layout
from mio_local.gguf_files.gguf_tokenizer import _tokens
from tests.helpers.exporting import changed, retoken

pytest.importorskip("gguf")
LONG = {"long_factor": [1.5] * 4, "short_factor": [1.1] * 4, "rope_type": "longrope", "rope_theta": 10000.0,
        "original_max_position_embeddings": 256}  # fmt: skip
YARN = {"rope_type": "yarn", "rope_theta": 10000.0, "original_max_position_embeddings": 512}


def test_two_tokens_of_one_text_among_many_are_told_soon(tmp_path):
    added = [{"id": 60_000 + i, "content": text, "special": False} for i, text in enumerate(("▁twin", " twin"))]
    described = {"model": {"vocab": {f"x{number}": number for number in range(60_000)}}, "added_tokens": added}
    began = time.perf_counter()
    with pytest.raises(ModelError, match="its tokenizer has ' twin' twice"):
        _tokens(tmp_path, described, 60_002)
    assert time.perf_counter() - began < 5  # where each is counted among all: 40 s


def test_words_that_are_cut_apart_first(shared, tmp_path):
    """Metaspace with `split`: two spaces are two tokens, and one where llama.cpp finds it in the vocabulary."""
    folder = shared / "models" / "stories260k"

    def cut(found):
        found["normalizer"] = None
        found["pre_tokenizer"] = {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "first", "split": True}

    def with_two(found):
        cut(found)
        vocabulary = found["model"]["vocab"]
        vocabulary["▁▁"] = vocabulary.pop(next(text for text, number in vocabulary.items() if number == 511))
        found["model"]["merges"] = [pair for pair in found["model"]["merges"] if "".join(pair) in vocabulary]
        found["model"]["merges"].append(["▁", "▁"])

    with pytest.raises(ModelError, match=r"cuts at every space .* llama\.cpp would make '▁▁' all the same"):
        layout(retoken(folder, tmp_path / "a", with_two))
    layout(retoken(folder, tmp_path / "b", cut))  # no token of two words: they are the same


@pytest.mark.parametrize("rope", [LONG, {**LONG, "factor": 2.0}, {**LONG, "factor": 32.0}, {**LONG, "factor": 1.0},
                                  {**YARN, "factor": None}, {**YARN, "factor": 8.0}])
def test_scales_of_positions_are_transformers(rope, tiny_model, tmp_path):
    from transformers import AutoConfig
    from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

    kind = "phi3" if rope["rope_type"] == "longrope" else "llama"
    folder = changed(tiny_model, tmp_path / "base", model_type=kind, rope_parameters=rope, rope_theta=None)
    values = read_plan(folder).values
    if kind == "phi3":
        found = ROPE_INIT_FUNCTIONS["longrope"](AutoConfig.from_pretrained(folder), "cpu")[1]
        assert values["rope.scaling.attn_factor"] == pytest.approx(found)
    else:
        assert values["rope.scaling.factor"] == (rope["factor"] or 2048 / 512)


@pytest.mark.parametrize("body", ["", "open(sys.argv[3], 'wb').write(b'GGUF garbage')", "open(sys.argv[3], 'w')"])
def test_a_converter_that_writes_nothing_of_use_is_told(body, tiny_model, tmp_path):
    (tmp_path / SCRIPT).write_text(f"import sys\n{body}\n")
    with pytest.raises(ModelError, match=rf"{SCRIPT}: wrote no usable file: "):
        convert(converter(str(tmp_path)), tiny_model, tmp_path / "x.gguf", "auto")
