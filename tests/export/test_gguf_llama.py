"""GGUF files in llama.cpp itself: the logits of transformers, its tokens, and the same greedy text."""

import json
import shutil

import numpy as np
import pytest
from tokenizers import Regex, Tokenizer, decoders, pre_tokenizers, trainers
from tokenizers.models import BPE

from mio_local.gguf_files import gguf_tokenizer
from tests.helpers import families
from tests.helpers.backends import load, logits
from tests.helpers.exporting import write_checked
from tests.helpers.families import FULL, Family, write_family
from tests.helpers.tiny_model import write_tokenizer

llama_cpp = pytest.importorskip("llama_cpp")
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning", "ignore::FutureWarning")
IDS = list(range(5, 45))  # longer than every window here
TEXTS = [
    "Once upon a time, there was a little girl.", " a leading space", "two  spaces   three", "a\nb\n\nc\n", "\ttab",
    "1 23 456 7890 3.14 2,000", "don't we'll I'M SHE'S", "naïve café übergröße", "你好，世界", "🦙🚀 ok",
    "x=f(y)+[1];  // no", "trailing ", "Tom had 12 apples.\nHe ate 5.", "?!...---", "",
]  # fmt: skip


def opened(file, **settings):
    return llama_cpp.Llama(str(file), n_ctx=256, n_threads=1, verbose=False, **settings)


def scored(file, ids):
    """Logits (len(ids), vocabulary) by llama.cpp, its keys and values kept in float32."""
    model = opened(file, logits_all=True, type_k=0, type_v=0, flash_attn=False)
    model.eval(ids)
    return np.array(model.scores[: len(ids)])


def with_changes(name, **changes):
    family = families.FAMILIES[name]
    return Family(family.kind, {**family.config, **changes})


# llama.cpp has no window there
WHOLE = {"use_sliding_window": False, "sliding_window": None, "layer_types": [FULL] * 3}
SCALED = {"head_dim": 16, "query_pre_attn_scalar": 16}
YARN = {"rope_type": "yarn", "rope_theta": 10000.0, "factor": 4.0, "original_max_position_embeddings": 128}
LONG = {"rope_type": "longrope", "rope_theta": 10000.0, "original_max_position_embeddings": 300,
        "short_factor": [1.0, 1.1, 1.3, 1.7], "long_factor": [2.0, 3.0, 4.0, 5.0]}  # fmt: skip
CASES = {
    "llama": families.FAMILIES["llama"],
    "llama3": families.FAMILIES["llama3"],
    "biases": Family("llama", {"attention_bias": True, "mlp_bias": True}),
    "linear": Family("llama", {"rope_parameters": {"rope_type": "linear", "rope_theta": 10000.0, "factor": 4.0}}),
    "mistral": with_changes("mistral", sliding_window=None, head_dim=16),
    "qwen2": with_changes("qwen2", **WHOLE),
    "qwen3": with_changes("qwen3", **WHOLE),
    "yarn": with_changes("qwen3", **WHOLE, rope_parameters=YARN),
    "gemma": Family("gemma", {"head_dim": 16, "tie_word_embeddings": True}),
    "gemma2": with_changes("gemma2", **SCALED),
    "gemma3": with_changes("gemma3", **SCALED),
    "gemma3 linear": with_changes("gemma3", **SCALED, rope_parameters={
        "sliding_attention": {"rope_type": "default", "rope_theta": 100.0},
        "full_attention": {"rope_type": "linear", "rope_theta": 10000.0, "factor": 8.0}}),
    "phi3": Family("phi3", {"sliding_window": None}),
    "phi3 turned in part": Family("phi3", {"sliding_window": None, "head_dim": 8, "partial_rotary_factor": 0.5}),
    "phi3 longrope": Family("phi3", {"sliding_window": None, "rope_parameters": LONG,
                                     "original_max_position_embeddings": 300}),
}


@pytest.mark.parametrize("name", CASES)
def test_logits_of_every_family(name, tmp_path, monkeypatch):
    monkeypatch.setitem(families.FAMILIES, name, CASES[name])
    base = write_family(tmp_path / "base", name, "cuda")
    write_tokenizer(base)
    write_checked(base, tmp_path / "x.gguf")
    tolerance = 1e-2 if name.startswith("gemma") else 1e-4  # llama.cpp looks GELU up in a table of float16
    found = scored(tmp_path / "x.gguf", IDS)
    np.testing.assert_allclose(found, logits(load("cuda", base), IDS), atol=tolerance)


@pytest.mark.parametrize("kind", ["f16", "bf16"])
def test_types_of_16_bits_are_read(kind, tiny_model, tmp_path):
    write_checked(tiny_model, tmp_path / "x.gguf", kind)
    np.testing.assert_allclose(scored(tmp_path / "x.gguf", IDS), logits(load("cuda", tiny_model), IDS), atol=0.1)


@pytest.mark.parametrize("name", ["stories260k", "gsm8k-mini"])
def test_real_models_write_the_same_greedy_text(name, shared, tmp_path):
    """40 greedy tokens after each prompt, and the tokens of all texts."""
    transformers = pytest.importorskip("transformers")
    folder = shared / "models" / name
    write_checked(folder, tmp_path / "x.gguf")
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    model, other = transformers.AutoModelForCausalLM.from_pretrained(folder).eval(), opened(tmp_path / "x.gguf")
    for text in TEXTS:
        assert other.tokenize(text.encode(), special=True) == tokenizer(text).input_ids, text
    for prompt in ("Once upon a time", "Tom has 3 apples. He buys 4 more. How many"):
        ids = tokenizer(prompt, return_tensors="pt").input_ids
        mine = model.generate(ids, max_new_tokens=40, do_sample=False)[0, ids.shape[1] :].tolist()
        other.reset()
        theirs = []
        for token in other.generate(ids[0].tolist(), temp=0.0, repeat_penalty=1.0):
            theirs.append(int(token))
            if token == tokenizer.eos_token_id or len(theirs) == len(mine):
                break
        assert theirs == mine
        said = other.detokenize(theirs, prev_tokens=ids[0].tolist()).decode(errors="ignore")
        assert said.strip() == tokenizer.decode(mine, skip_special_tokens=True).strip()


@pytest.mark.parametrize("steps", gguf_tokenizer.PRE, ids=gguf_tokenizer.PRE.get)
def test_every_way_of_cutting_text(steps, tiny_model, tmp_path, monkeypatch):
    """A BPE tokenizer trained with each pre-tokenizer: llama.cpp cuts and merges as it does."""
    patterns, ignore = steps
    cuts = [pre_tokenizers.Split(Regex(pattern), "isolated") for pattern in patterns]
    trained = Tokenizer(BPE(ignore_merges=ignore))
    trained.pre_tokenizer = pre_tokenizers.Sequence([*cuts, pre_tokenizers.ByteLevel(False, use_regex=False)])
    trained.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trained.train_from_iterator(TEXTS * 3, trainers.BpeTrainer(
        vocab_size=500, show_progress=False, initial_alphabet=alphabet, special_tokens=["<|im_end|>", "<|pad|>"]))
    monkeypatch.setitem(families.SIZES, "vocab_size", trained.get_vocab_size())
    base = write_family(tmp_path / "base", "llama", "cuda")
    trained.save(str(base / "tokenizer.json"))
    shutil.copy(tiny_model / "tokenizer_config.json", base)
    write_checked(base, tmp_path / "x.gguf")
    other = opened(tmp_path / "x.gguf", vocab_only=True)
    for text in TEXTS:
        assert other.tokenize(text.encode(), add_bos=False, special=True) == trained.encode(text).ids, text


def test_a_converted_sentencepiece_tokenizer(shared, tmp_path, monkeypatch):
    """32,000 tokens and 61,249 merges, several of which make the same token."""
    transformers = pytest.importorskip("transformers")
    monkeypatch.setitem(families.SIZES, "vocab_size", 32000)
    base = write_family(tmp_path / "base", "llama", "cuda")
    for file in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja"):
        shutil.copy(shared / "models" / "llama-shapes" / file, base)
    notes = [note.split(",")[0] for note in write_checked(base, tmp_path / "x.gguf").notes]
    assert notes == ["its tokenizer puts no space before a text that begins with one or follows a mark"]
    tokenizer = transformers.AutoTokenizer.from_pretrained(base)
    other = opened(tmp_path / "x.gguf", vocab_only=True)
    lines = [json.loads(line) for line in (shared / "data" / "gsm8k" / "train.jsonl").open()][:100]
    for text in [*TEXTS, *(str(value) for line in lines for value in line.values())]:
        if text and not text.startswith(" "):
            assert other.tokenize(text.encode(), special=True) == tokenizer(text).input_ids, text
