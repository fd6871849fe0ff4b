"""How much memory is free for a run: of the kernel, of a GPU's driver."""

from types import SimpleNamespace

from mio_local.memory import fitting
from mio_local.memory.estimate import estimate
from mio_local.memory.fitting import available, fits, remedy
from mio_local.models.shapes import shape_from_config
from mio_local.recipe import build

# Llama 3.2 1B, as its config.json describes it
LLAMA = {
    "model_type": "llama", "vocab_size": 128256, "hidden_size": 2048, "num_hidden_layers": 16,
    "num_attention_heads": 32, "num_key_value_heads": 8, "head_dim": 64, "intermediate_size": 8192,
    "tie_word_embeddings": True, "torch_dtype": "bfloat16",
}  # fmt: skip
SHAPE = shape_from_config(LLAMA, 2 * 1_235_814_400)


def settings(**train):
    return build({"train": train}, "test")


def needed(kind, longest=257, pair=0, **train):
    return estimate(SHAPE, settings(**train), longest, "cuda", kind, pair).total


def test_available_memory_is_the_kernel_s(tmp_path, monkeypatch):
    monkeypatch.setattr(fitting.sys, "platform", "linux")
    meminfo = tmp_path / "meminfo"
    meminfo.write_text("MemTotal:       24683520 kB\nMemFree:         1000 kB\nMemAvailable:   12345678 kB\n")
    assert available("cpu", meminfo=meminfo) == 12345678 * 1024
    assert available("cpu", meminfo=tmp_path / "none") == 0


def test_available_gpu_memory_is_the_driver_s(tmp_path, monkeypatch):
    monkeypatch.setattr(fitting.sys, "platform", "linux")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    asked = []

    def run(command, **_):
        asked.append(command)
        return SimpleNamespace(stdout="40123\n")

    monkeypatch.setattr(fitting.shutil, "which", lambda name: f"/bin/{name}")
    monkeypatch.setattr(fitting.subprocess, "run", run)
    assert available("gpu", 1) == 40123 << 20
    assert "--id=1" in asked[0]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3, GPU-8f2a")
    assert [available("gpu", number) for number in (0, 1, 2)] == [40123 << 20, 40123 << 20, 0]
    assert [command[1] for command in asked[1:]] == ["--id=3", "--id=GPU-8f2a"]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert available("gpu") == 0
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    monkeypatch.setattr(fitting.shutil, "which", lambda name: None)
    assert available("gpu") == 0


def test_a_batch_of_any_size_has_its_remedy_soon():
    config = {"model_type": "llama", "vocab_size": 99, "hidden_size": 64, "num_hidden_layers": 2,
              "num_attention_heads": 2, "intermediate_size": 128}  # fmt: skip
    shape = shape_from_config(config, 2 * 99 * 64)
    recipe = build({"train": {"batch_size": 10**12}}, "test")
    assert remedy(shape, recipe, 64, "cuda", "gpu", 10**9) == ""


def test_fits():
    assert [fits(needed, 100) for needed in (80, 81, 100, 101)] == ["yes", "tight", "tight", "no"]


def test_the_remedy_is_the_smallest_change_that_fits():
    def say(free):
        return remedy(SHAPE, settings(batch_size=4, accumulate=2), 257, "cuda", "gpu", free)

    assert say(needed("gpu", batch_size=4, accumulate=2)) == ""
    assert say(needed("gpu", batch_size=4, accumulate=2) - 1) == "batch 4 -> 2 with accumulate x4"
    assert say(needed("gpu", batch_size=1, accumulate=8)) == "batch 4 -> 1 with accumulate x8"
    assert say(SHAPE.stored_bytes) == ""


def test_checkpointing_comes_before_shorter_rows():
    one = settings(batch_size=1)
    checkpointed = needed("gpu", 1025, batch_size=1, grad_checkpoint=True)
    assert remedy(SHAPE, one, 1025, "cuda", "gpu", checkpointed) == "grad_checkpoint on"
    short = remedy(SHAPE, one, 1025, "cuda", "gpu", checkpointed - 1)
    assert short.startswith("max_tokens 1024 -> ")
    tokens = int(short.split()[-1])
    assert needed("gpu", tokens, batch_size=1) < checkpointed
    assert needed("gpu", tokens + 64, batch_size=1) >= checkpointed


def test_on_a_cpu_a_smaller_batch_is_named_only_where_it_helps(monkeypatch):
    """On one core. Rows of 384 tokens, two at once: a batch of 4 needs what one of 2 needs, and one of 1 less. Rows of
    1,536 tokens go one by one, so that only checkpointing helps."""
    monkeypatch.setattr("mio_local.memory.activations.threads", lambda: 1)

    def say(longest):
        free = needed("cpu", longest, batch_size=4) - 1
        return remedy(SHAPE, settings(batch_size=4), longest, "cuda", "cpu", free)

    assert say(256) == "batch 4 -> 1 with accumulate x4"
    assert say(1024) == "grad_checkpoint on"


def test_shorter_rows_keep_the_answers_share():
    """Of rows of 1,024 tokens, 64 of them an answer's: half as many take half as many of an answer."""
    one = settings(batch_size=1, grad_checkpoint=True)
    free = needed("gpu", 512, 512 + 32, batch_size=1, grad_checkpoint=True)
    assert remedy(SHAPE, one, 1024, "cuda", "gpu", free, 1024 + 64) == "max_tokens 1024 -> 512"


def test_no_row_is_proposed_that_a_prompt_does_not_fit():
    """The next start would refuse it, unless prompts are cut."""
    one = settings(batch_size=1, grad_checkpoint=True)
    free = needed("gpu", 704, batch_size=1, grad_checkpoint=True)
    assert remedy(SHAPE, one, 1024, "cuda", "gpu", free, prompt=703) == "max_tokens 1024 -> 704"
    assert remedy(SHAPE, one, 1024, "cuda", "gpu", free, prompt=704) == ""
    cut = build({"train": {"batch_size": 1, "grad_checkpoint": True}, "data": {"long_prompt": "cut"}}, "test")
    assert remedy(SHAPE, cut, 1024, "cuda", "gpu", free, prompt=704) == "max_tokens 1024 -> 704"
