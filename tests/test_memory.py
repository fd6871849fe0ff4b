"""The memory estimate against the measured peak of real training steps, and its parts against hand arithmetic."""

import json
import subprocess
import sys

import pytest

from mio_local.errors import ModelError
from mio_local.fitting import fits, remedy
from mio_local.memory import estimate
from mio_local.recipe import build
from mio_local.shapes import read_shape, shape_from_config
from tests.bench.memory import in_process, make_model
from tests.conftest import write_tiny_model
from tests.driving import BACKENDS, backend_of, both

# Llama 3.2 1B, as its config.json describes it
LLAMA = {
    "model_type": "llama", "vocab_size": 128256, "hidden_size": 2048, "num_hidden_layers": 16,
    "num_attention_heads": 32, "num_key_value_heads": 8, "head_dim": 64, "intermediate_size": 8192,
    "tie_word_embeddings": True, "torch_dtype": "bfloat16",
}  # fmt: skip
# embedding; per block q and o, k and v, three of the MLP, two norms; the last norm
LLAMA_PARAMETERS = 128256 * 2048 + 16 * (2 * 2048 * 2048 + 2 * 2048 * 512 + 3 * 2048 * 8192 + 2 * 2048) + 2048
SHAPE = shape_from_config(LLAMA, 2 * LLAMA_PARAMETERS)


def recipe(**keys):
    """A recipe with train__batch_size=1 and the like."""
    return build({}, "test", {key.replace("__", "."): ("", value) for key, value in keys.items()})


def parts(backend="cuda", kind="gpu", longest=257, shape=SHAPE, **keys):
    return dict(estimate(shape, recipe(**keys), longest, backend, kind).parts)


def off_by(seen):
    return seen["estimate"] / seen["peak"] - 1


@both
@pytest.mark.parametrize("checkpoint", [False, True])
@pytest.mark.parametrize("batch", [1, 4])
def test_a_wide_tiny_model_peaks_where_the_estimate_says(backend, batch, checkpoint, tmp_path):
    """12 blocks of width 256; needs nothing but the repository."""
    backend_of(backend)
    folder = write_tiny_model(tmp_path / "wide", width=256, blocks=12)
    seen = in_process(backend, folder, batch, 129, checkpoint)
    assert abs(off_by(seen)) < 0.25, seen


@pytest.fixture(scope="module")
def real_shapes(shared, tmp_path_factory):
    """Folders of random Llamas of real shape by size, made when first asked for."""
    made = {}
    place = tmp_path_factory.mktemp("shapes")

    def of(size):
        return made.setdefault(size, None) or made.update({size: make_model(size, place)}) or made[size]

    return of


@pytest.mark.slow
@both
@pytest.mark.parametrize(
    ("size", "batch", "checkpoint"),
    [
        ("27m", 1, False), ("27m", 1, True), ("27m", 4, False), ("27m", 4, True),
        ("135m", 1, False), ("135m", 1, True), ("135m", 4, True),
    ],
)  # fmt: skip
def test_real_shapes_peak_where_the_estimate_says(backend, size, batch, checkpoint, real_shapes):
    backend_of(backend)
    seen = in_process(backend, real_shapes(size), batch, 257 if batch > 1 else 129, checkpoint)
    assert abs(off_by(seen)) < 0.25, seen


def test_the_shape_is_the_one_of_the_files(tmp_path):
    """Width 256, 4 blocks, a head of its own; 259 tokens of the byte tokenizer."""
    shape = read_shape(write_tiny_model(tmp_path / "model", width=256, blocks=4))
    block = 2 * 256 * 256 + 2 * 256 * 128 + 3 * 256 * 512 + 2 * 256
    assert shape.parameters == 4 * block + 2 * 259 * 256 + 256
    assert (shape.vocabulary, shape.queries, shape.keys, shape.tied) == (259, 256, 128, False)
    assert (shape.stored_bytes, shape.stored_dtype) == (4 * shape.parameters, "float32")


def test_weights_and_adapter_of_a_known_model():
    """1.24 billion weights in bfloat16; rank 16 on all seven layers; five float32 copies."""
    assert SHAPE.parameters == LLAMA_PARAMETERS == 1_235_814_400
    adapter = 16 * 16 * (2 * (2048 + 2048) + 2 * (2048 + 512) + 3 * (2048 + 8192))
    assert adapter == 11_272_192  # as PEFT prints it for this model
    found = parts()
    assert found["weights"] == 2 * LLAMA_PARAMETERS
    assert found["adapter"] == 5 * 4 * adapter


def test_logits_are_four_float32_buffers_in_torch():
    """Batch 4 is 8 rows of 256 positions: logits, difference, exponential and product in logsumexp's backward."""
    assert parts(train__batch_size=4, train__grad_checkpoint=True)["logits"] == 4 * 8 * 256 * 128256 * 4


@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::FutureWarning")
@pytest.mark.parametrize("dropout", [0.0, 0.1])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_torch_keeps_what_its_own_graph_keeps(dtype, dropout):
    """Against the tensors that autograd saves for two more blocks of a small Llama, counted by its own hooks."""
    torch = pytest.importorskip("torch")
    pytest.importorskip("peft")

    def saved(count):
        return _saved_bytes(torch, count, getattr(torch, dtype), dropout)

    def kept(count):
        config = {**SMALL, "num_hidden_layers": count}
        settings = {"model__dtype": dtype, "train__batch_size": 1, "lora__dropout": dropout}
        return parts("cuda", "gpu", 65, shape_from_config(config, 4), **settings)["activations"]

    assert (kept(4) - kept(2)) / (saved(4) - saved(2)) == pytest.approx(1, abs=0.03)


SMALL = {
    "vocab_size": 4096, "hidden_size": 64, "intermediate_size": 160, "num_attention_heads": 4,
    "num_key_value_heads": 4, "head_dim": 16, "tie_word_embeddings": True,
}  # fmt: skip


def _saved_bytes(torch, blocks, dtype, dropout):
    from transformers import LlamaConfig, LlamaForCausalLM

    from mio_cuda.model import CudaModel
    from mio_local.adapters import choose_layers

    net = LlamaForCausalLM(LlamaConfig(**SMALL, num_hidden_layers=blocks)).to(dtype)
    model = CudaModel(net, torch.device("cpu"), grad_checkpoint=False)
    settings = recipe(lora__dropout=dropout)
    model.add_lora(settings.lora, settings.train, choose_layers(model.linear_layers(), settings.lora))
    owned = {value.untyped_storage().data_ptr() for value in [*net.parameters(), *net.buffers()]}
    found = {}

    def pack(value):
        storage = value.untyped_storage()
        if storage.data_ptr() not in owned:
            found[storage.data_ptr()] = storage.nbytes()
        return value

    model.model.train()
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda value: value):
        out = model.model(input_ids=torch.zeros(2, 64, dtype=torch.long), use_cache=False).logits
    assert out.requires_grad
    return sum(found.values())


@pytest.mark.parametrize("backend", BACKENDS)
def test_parts_grow_with_the_batch_and_the_length(backend):
    one, four = (parts(backend, train__batch_size=size) for size in (1, 4))
    assert four["logits"] == pytest.approx(4 * one["logits"], abs=4)
    assert four["activations"] == pytest.approx(4 * one["activations"], abs=4)
    assert four["weights"] == one["weights"]
    long = parts(backend, longest=513, train__batch_size=1)
    assert long["logits"] == pytest.approx(2 * one["logits"], abs=4)
    # MLX keeps the attention's weights, whose number grows with the square of the length
    grown = long["activations"] / one["activations"]
    assert grown > 2.1 if backend == "mlx" else grown == pytest.approx(2)


@pytest.mark.parametrize("backend", BACKENDS)
def test_checkpointing_layers_and_tying(backend):
    full, again, last = parts(backend), parts(backend, train__grad_checkpoint=True), parts(backend, lora__layers=4)
    assert again["activations"] < full["activations"] / 4
    assert last["adapter"] * 4 == full["adapter"]
    assert last["activations"] < full["activations"] / 2
    untied = shape_from_config({**LLAMA, "tie_word_embeddings": False}, SHAPE.stored_bytes)
    assert untied.embedding == 2 * SHAPE.embedding


def test_quantised_weights():
    """MLX packs every matrix, with a scale and a bias of 2 bytes per 64 weights: 4.5 bits each. bitsandbytes leaves
    the embedding in bfloat16, and has an 8-bit scale for each 64 weights of the rest."""
    embedding = 128256 * 2048
    assert parts("mlx", model__quantize=4)["weights"] == pytest.approx(LLAMA_PARAMETERS * 4.5 / 8)
    expected = 2 * embedding + (LLAMA_PARAMETERS - embedding) * (0.5 + 1 / 64)
    assert parts("cuda", model__quantize=4)["weights"] == pytest.approx(expected)
    stored = shape_from_config({**LLAMA, "quantization": {"bits": 4, "group_size": 64}}, 700_000_000)
    assert stored.bits == 4
    assert parts("mlx", shape=stored)["weights"] == 700_000_000
    assert stored.parameters == pytest.approx(LLAMA_PARAMETERS, rel=1e-3)  # the norms are left out


def test_the_process_counts_only_where_the_backend_measures_it():
    assert "runtime" in parts("cuda", "cpu")
    assert "runtime" not in {**parts("cuda", "gpu"), **parts("mlx", "cpu")}


def test_a_cpu_holds_both_types_while_it_casts():
    """A bfloat16 file becomes float32 on a CPU; where training itself takes less than the file, loading is the peak."""
    small = {"lora__rank": 1, "lora__layers": 1, "train__batch_size": 1, "train__grad_checkpoint": True}
    found = parts("cuda", "cpu", 17, **small)
    assert found["loading"] == 2 * LLAMA_PARAMETERS
    assert found["weights"] == 4 * LLAMA_PARAMETERS
    assert "loading" not in parts("cuda", "cpu", 17, model__dtype="bfloat16", **small)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"hidden_size": None}, "no hidden_size"),
        ({"num_hidden_layers": "many"}, "num_hidden_layers must be a whole number above 0, not 'many'"),
        ({"num_attention_heads": 0}, "num_attention_heads must be"),
    ],
)
def test_a_config_without_a_size_is_one_line(change, words, tmp_path):
    folder = write_tiny_model(tmp_path / "model")
    config = json.loads((folder / "config.json").read_text()) | change
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(ModelError) as caught:
        read_shape(folder)
    assert words in str(caught.value)
    assert "config.json" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"\xff" * 64, b"\x02" + bytes(7) + b"[]", b"\x09" + bytes(7) + b'{"a": {}}'])
def test_a_damaged_header_is_one_line(content, tmp_path):
    folder = write_tiny_model(tmp_path / "model")
    (folder / "model.safetensors").write_bytes(content)
    with pytest.raises(ModelError, match="damaged") as caught:
        read_shape(folder)
    assert "\n" not in str(caught.value)


def test_fits():
    assert [fits(needed, 100) for needed in (80, 81, 100, 101)] == ["yes", "tight", "tight", "no"]


def test_the_remedy_is_the_smallest_change_that_fits():
    settings = recipe(train__batch_size=4, train__accumulate=2)

    def total(longest=257, **keys):
        changed = recipe(**{"train__batch_size": 4, "train__accumulate": 2, **keys})
        return estimate(SHAPE, changed, longest, "cuda", "gpu").total

    def say(free):
        return remedy(SHAPE, settings, 257, "cuda", "gpu", free)

    assert say(total()) == ""
    assert say(total() - 1) == "batch 4 -> 2 with accumulate x4"
    assert say(total(train__batch_size=1)) == "batch 4 -> 1 with accumulate x8"
    assert say(SHAPE.stored_bytes) == ""
    one = recipe(train__batch_size=1)
    checkpointed = estimate(SHAPE, recipe(train__batch_size=1, train__grad_checkpoint=True), 1025, "cuda", "gpu").total
    assert remedy(SHAPE, one, 1025, "cuda", "gpu", checkpointed) == "grad_checkpoint on"
    short = remedy(SHAPE, one, 1025, "cuda", "gpu", checkpointed - 1)
    assert short.startswith("max_tokens 1024 -> ")
    tokens = int(short.split()[-1])
    assert estimate(SHAPE, one, tokens, "cuda", "gpu").total < checkpointed
    assert estimate(SHAPE, one, tokens + 64, "cuda", "gpu").total >= checkpointed


def test_the_app_can_ask_without_an_array_library():
    code = (
        "import sys, mio_local.fitting, mio_local.memory, mio_local.shapes\n"
        "print([name for name in ('torch', 'mlx', 'transformers', 'datasets') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
