"""How much memory is free for a run: of the kernel, of a GPU's driver."""

from types import SimpleNamespace

from mio_local import fitting
from mio_local.fitting import available, remedy
from mio_local.recipe import build
from mio_local.shapes import shape_from_config


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
