"""The memory estimate against the measured peak of real training steps, and its parts against hand arithmetic."""

import json
import os
import subprocess
import sys

import pytest

from mio_local.arrays import CPU_TOKENS, LANES
from mio_local.errors import ModelError
from mio_local.memory.estimate import LOGITS, PART
from mio_local.models.shapes import read_shape, shape_from_config
from mio_local.process import cores
from tests.bench.memory import in_process, make_model
from tests.helpers.backends import BACKENDS, backend_of, both
from tests.helpers.estimates import LLAMA, LLAMA_PARAMETERS, OFF, SHAPE, WIDE, parts
from tests.helpers.tiny_model import write_tiny_model


def off_by(seen):
    return seen["estimate"] / seen["peak"] - 1


@pytest.mark.slow
@both
@pytest.mark.parametrize(
    ("batch", "checkpoint", "levers", "threads"),
    [
        (4, False, "", ""), (4, True, "", ""), (4, False, "plain", "1"), (4, False, "answers=5", ""),
        (2, True, "answers=8", ""), (4, False, "plain", ""),
    ],
)
def test_a_wide_tiny_model_peaks_where_the_estimate_says(
    backend, batch, checkpoint, levers, threads, tmp_path, monkeypatch
):
    """12 blocks of width 256; needs nothing but the repository. On one thread PyTorch has the parts in turn."""
    backend_of(backend)
    monkeypatch.setenv("OMP_NUM_THREADS", threads)
    folder = write_tiny_model(tmp_path / "wide", width=256, blocks=12)
    seen = in_process(backend, folder, batch, 129, checkpoint, levers)
    assert abs(off_by(seen)) < 0.25, seen


@pytest.mark.slow
@pytest.mark.parametrize("checkpoint", [True, False])
def test_sixteen_bits_peak_where_the_estimate_says(checkpoint, tmp_path):
    """MLX computes a block in the model's own type: with what it makes in float32 the estimate was 32 % over."""
    backend_of("mlx")
    folder = write_tiny_model(tmp_path / "wide", width=256, blocks=8)
    seen = in_process("mlx", folder, 2, 257, checkpoint, "model.dtype=bfloat16")
    assert abs(off_by(seen)) < 0.25, seen


@pytest.mark.slow
@pytest.mark.parametrize("told", ["1", "none"])
def test_the_estimate_counts_as_many_parts_side_by_side_as_torch_has(told):
    """In a process of its own, as PyTorch reads OMP_NUM_THREADS when it is imported."""
    backend_of("cuda")
    code = """
import torch
from mio_cuda.cpu_microbatches import Lanes
from mio_local.memory.activations import Plan
from mio_local.recipe import build
from mio_local.models.shapes import shape_from_config
config = {"vocab_size": 64, "hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 1}
plan = Plan(shape_from_config(config, 0), build({}, "", {}), "cuda", "cpu", 64, 32)
print(plan.lanes, Lanes(single=False).count, torch.get_num_threads())
"""
    environment = {**os.environ, "OMP_NUM_THREADS": told}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    counted, used, threads = map(int, done.stdout.split())
    assert counted == used == min(cores(), LANES, int(told) if told.isdecimal() else LANES)
    assert told != "1" or threads == 1


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
    ("size", "checkpoint"),
    [("27m", True), ("135m", False), ("135m", True)],  # longer ones in tests/bench/memory.py, which take minutes
)
def test_real_shapes_peak_where_the_estimate_says(backend, size, checkpoint, real_shapes):
    backend_of(backend)
    seen = in_process(backend, real_shapes(size), 1, 128, checkpoint, "")
    assert abs(off_by(seen)) < 0.25, seen


def test_the_shape_is_the_one_of_the_files(tmp_path):
    """Width 256, 4 blocks, a head of its own; 259 tokens of the byte tokenizer."""
    shape = read_shape(write_tiny_model(tmp_path / "model", width=256, blocks=4))
    block = 2 * 256 * 256 + 2 * 256 * 128 + 3 * 256 * 512 + 2 * 256
    assert shape.parameters == 4 * block + 2 * 259 * 256 + 256
    assert (shape.vocabulary, shape.queries, shape.keys, shape.tied) == (259, 256, 128, False)
    assert (shape.stored_bytes, shape.stored_dtype) == (4 * shape.parameters, "float32")


def test_weights_and_adapter_of_a_known_model():
    """1.24 billion weights in bfloat16; rank 16 on all seven layers; five float32 copies, and one in bfloat16."""
    assert SHAPE.parameters == LLAMA_PARAMETERS == 1_235_814_400
    adapter = 16 * 16 * (2 * (2048 + 2048) + 2 * (2048 + 512) + 3 * (2048 + 8192))
    assert adapter == 11_272_192  # as PEFT prints it for this model
    found = parts()
    assert found["weights"] == 2 * LLAMA_PARAMETERS
    assert found["adapter"] == (5 * 4 + 2) * adapter
    assert parts(speed__lean_adapter=False)["adapter"] == 5 * 4 * adapter


def test_a_backend_that_nobody_measured_is_counted_as_pytorch():
    assert parts("another", "gpu") == parts("cuda", "gpu")


def test_all_logits_are_counted_where_the_head_computes_all():
    """Batch 4 is 8 rows of 256 positions, half of them an answer's (128 of 257 tokens): the logits, and of the answers'
    a copy, difference and exponential in logsumexp's backward."""
    found = parts(train__batch_size=4, train__grad_checkpoint=True, **OFF)
    assert found["logits"] == (8 * 256 + 3 * 8 * 128) * 128256 * 4


def test_the_answers_logits_are_counted_part_by_part():
    """PyTorch's two buffers of a part, however large the batch; of two answers of 16 tokens where they are no part."""
    four, eight = (parts(train__batch_size=size, train__grad_checkpoint=True)["logits"] for size in (4, 8))
    assert four == eight == 2 * PART["cuda"]["gpu"] * 4
    few = parts("cuda", "cpu", 257, WIDE, pair=257 + 16, train__batch_size=1)
    assert few["logits"] == pytest.approx(2 * 2 * 16 * 128256 * 4, abs=4)


def test_the_answers_of_a_group_are_counted():
    """Two float32 buffers of their logits, for three and for four answers of 16 tokens. Of the plain path five rows,
    and of the answers' a copy and a difference, as scoring without a gradient is the peak."""
    three, four = (
        parts("cuda", "cpu", 257, WIDE, pair=241 + 16 * n, answers=n, train__batch_size=1)["logits"] for n in (3, 4)
    )
    assert (three, four) == pytest.approx((2 * 3 * 16 * 128256 * 4, 2 * 4 * 16 * 128256 * 4), abs=4)
    plain = parts(longest=257, pair=241 + 5 * 16, answers=5, train__batch_size=1, train__grad_checkpoint=True, **OFF)
    assert plain["logits"] == (5 * 256 + 2 * 5 * 16) * 128256 * 4


@both
def test_the_heads_parts_are_as_large_as_is_counted(backend):
    backend_of(backend)
    head = pytest.importorskip(f"mio_{backend}.head")
    sizes = (head.CPU_PART, head.GPU_PART) if backend == "mlx" else (head.PART["cpu"], head.PART["cuda"])
    assert sizes == (PART[backend]["cpu"], PART[backend]["gpu"])


@pytest.mark.parametrize("backend", BACKENDS)
def test_parts_grow_with_the_batch_and_the_length(backend):
    one, four = (parts(backend, train__batch_size=size, **OFF) for size in (1, 4))
    assert four["logits"] == pytest.approx(4 * one["logits"], abs=4)
    assert four["activations"] == pytest.approx(4 * one["activations"], abs=4)
    assert four["weights"] == one["weights"]
    long = parts(backend, longest=513, train__batch_size=1, **OFF)
    assert long["logits"] == pytest.approx(2 * one["logits"], abs=4)
    # MLX keeps the attention's weights, whose number grows with the square of the length
    grown = long["activations"] / one["activations"]
    assert grown > 2.1 if backend == "mlx" else grown == pytest.approx(2)


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_prompt_fed_once_is_kept_once(backend):
    """Prompts of 256 tokens and answers of 128 or 32: rows of 640 and 416 against 2 x 384, and 2 x 288."""
    for longest, answer in ((385, 128), (289, 32)):
        shared, twice = (
            parts(backend, longest=longest, pair=longest + answer, train__batch_size=1, speed__share_prompt=share)
            for share in (True, False)
        )
        fed = (longest + answer - 1) / (2 * longest - 2)
        # what attention keeps of a prompt it keeps twice in PyTorch
        assert fed - 0.02 < shared["activations"] / twice["activations"] < fed + 0.12
        assert shared["weights"] == twice["weights"]


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_cpu_takes_a_large_batch_part_by_part(backend):
    """Rows of 384 tokens: two pairs at once, so that a batch of 64 needs what one of 4 needs."""
    one, two, four, many = (parts(backend, "cpu", 256, WIDE, train__batch_size=size) for size in (1, 2, 4, 64))
    assert many == four
    assert CPU_TOKENS // 384 == 2
    assert four["activations"] == two["activations"] == pytest.approx(2 * one["activations"], rel=0.05)
    # but not where the lowest blocks are run once for the whole batch: its hidden state is kept
    four, many = (parts(backend, "cpu", 256, WIDE, train__batch_size=size, lora__layers=4) for size in (4, 64))
    assert many["activations"] - four["activations"] == 60 * 384 * 2048 * 4


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


@pytest.mark.parametrize("backend", BACKENDS)
def test_two_pairs_are_compared_with_the_plain_path(backend):
    """Half as long as the longest: 4 rows of 64 positions. With a head for half a million tokens that is the peak."""
    shape = shape_from_config({**LLAMA, "vocab_size": 512_000}, SHAPE.stored_bytes)
    small = {"train__batch_size": 1, "train__grad_checkpoint": True, "lora__layers": 1}
    found = parts(backend, longest=129, shape=shape, pair=129 + 64, **small)
    every, some = LOGITS[backend]
    assert found["logits"] == pytest.approx((every * 4 * 64 + (some - 1) * 4 * 32) * 512_000 * 4)
    assert found["adapter"] < parts(backend, longest=129, shape=shape, pair=129 + 64, **small, **OFF)["adapter"]


@pytest.mark.parametrize("backend", BACKENDS)
def test_what_a_block_makes_is_of_the_models_type_where_the_savings_are_on(backend):
    """With PEFT's own adapters, what a block makes and drops is in float32."""
    one = {"train__batch_size": 4, "train__grad_checkpoint": True, "speed__answer_head": False}
    lean, wide, casts = (
        parts(backend, shape=shape_from_config({**LLAMA, "vocab_size": 64}, 10**9), **one, **more)["activations"]
        for more in ({}, {"model__dtype": "float32"}, {"speed__lean_adapter": False})
    )
    assert lean < casts
    assert wide >= 2 * lean  # CUDA keeps scores too in float32, where heads share keys


def test_a_cpu_holds_both_types_while_it_casts():
    """A bfloat16 file becomes float32 on a CPU; where training itself takes less than the file, loading is the peak."""
    small = {"lora__rank": 1, "lora__layers": 1, "train__batch_size": 1, "train__grad_checkpoint": True}
    found = parts("cuda", "cpu", 17, **small)
    assert found["loading"] == 2 * LLAMA_PARAMETERS
    assert found["weights"] == 4 * LLAMA_PARAMETERS
    assert "loading" not in parts("cuda", "cpu", 17, model__dtype="bfloat16", **small)
    spread = parts("cuda", "cpu", 17, backend__devices=2, backend__shard=True, **small)
    assert spread["loading"] + spread["weights"] == 6 * LLAMA_PARAMETERS  # whole, till its type is changed
    blocks = LLAMA_PARAMETERS - 128256 * 2048
    assert spread["weights"] == round(4 * (LLAMA_PARAMETERS / 2 + 2 * blocks / 16))


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


def test_the_app_can_ask_without_an_array_library():
    code = (
        "import sys, mio_local.memory.fitting, mio_local.memory.estimate, mio_local.models.shapes\n"
        "print([name for name in ('torch', 'mlx', 'transformers', 'datasets') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
