"""A model, adapter, device or backend that cannot be used ends in one line that names it, for both backends."""

import importlib.util
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from mio_local.process import installing
from tests.helpers.backends import mlx_and_slow_cuda
from tests.helpers.json_edits import edit_json

Mistake = Callable[..., str]
LIBRARIES = {"mlx": "mlx", "cuda": "torch"}
ADAPTED = "base_model.model.model.layers.0.self_attn.q_proj"


@pytest.fixture(params=LIBRARIES)
def backend(request: pytest.FixtureRequest) -> str:
    """Each backend; the test skips where its library is missing."""
    if importlib.util.find_spec(LIBRARIES[request.param]) is None:
        pytest.skip(f"{LIBRARIES[request.param]} is not installed")
    return request.param


@pytest.fixture
def model(tiny_model: Path, tmp_path: Path) -> Path:
    """A copy of the tiny model, to be broken."""
    return shutil.copytree(tiny_model, tmp_path / "model")


@pytest.fixture
def train(mistake: Mistake, model: Path, tiny_pairs: Path) -> Mistake:
    """`mio-local train` with the copy of the model on the CPU, which must fail; the line."""
    return lambda *arguments: mistake(
        "train", "--model", model, "--data", tiny_pairs, "--device", "cpu", *arguments
    )


def configure(folder: Path, **values: Any) -> None:
    """Set keys of config.json."""
    edit_json(folder / "config.json", **values)


def keep_tensors(folder: Path, keep: Callable[[str], bool]) -> None:
    """Leave only some tensors in the weights."""
    file = str(folder / "model.safetensors")
    save_file({name: value for name, value in load_file(file).items() if keep(name)}, file, {"format": "pt"})


def cut_weights(folder: Path, size: int) -> None:
    """Keep the first `size` bytes of the weights."""
    file = folder / "model.safetensors"
    file.write_bytes(file.read_bytes()[:size])


def shard(folder: Path) -> None:
    """Name a second file of weights that is not there."""
    index = {"weight_map": {"lm_head.weight": "model-00002-of-00002.safetensors"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index), encoding="utf-8")


def pickled(folder: Path) -> None:
    """Weights as a pickle alone."""
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")


def own_code(folder: Path) -> None:
    """A model type of its own, with the code for it."""
    configure(folder, model_type="mystery", auto_map={"AutoConfig": "code.C", "AutoModelForCausalLM": "code.M"})
    (folder / "code.py").write_text("raise SystemExit('ran')", encoding="utf-8")


def own_tokenizer(folder: Path) -> None:
    """A tokenizer that is Python code."""
    file = folder / "tokenizer_config.json"
    values = json.loads(file.read_text(encoding="utf-8"))
    values |= {"tokenizer_class": "Mystery", "auto_map": {"AutoTokenizer": ["code.T", None]}}
    file.write_text(json.dumps(values), encoding="utf-8")
    (folder / "code.py").write_text("raise SystemExit('ran')", encoding="utf-8")


def write(name: str, content: bytes) -> Callable[[Path], None]:
    """Replace a file of the folder."""
    return lambda folder: (folder / name).write_bytes(content) and None


def remove(*names: str) -> Callable[[Path], None]:
    """Delete files of the folder."""
    return lambda folder: [(folder / name).unlink() for name in names] and None


def alter(folder: Path, change: Callable[[Any], Any]) -> None:
    """Change every tensor."""
    file = folder / "model.safetensors"
    save_file({name: change(values) for name, values in load_file(file).items()}, file, {"format": "pt"})


LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 3\n"
BROKEN: dict[str, tuple[Callable[[Path], None], list[str]]] = {
    "no weights": (remove("model.safetensors"), ["no weights", "safetensors"]),
    "pickles": (pickled, ["pytorch_model.bin", "pickle", "safetensors"]),
    "no config": (remove("config.json"), ["no config.json"]),
    "config cut": (write("config.json", b'{"model_type": "lla'), ["config.json", "JSON"]),
    "config a list": (write("config.json", b"[]"), ["config.json", "model_type"]),
    "config not text": (write("config.json", b"\xff\xfe"), ["config.json", "JSON"]),
    "config without sizes": (write("config.json", b'{"model_type": "llama"}'), ["model"]),
    "config sizes are text": (lambda folder: configure(folder, hidden_size="wide"), ["hidden_size", "wide"]),
    "other sizes": (lambda folder: configure(folder, intermediate_size=48), ["mlp", "shape"]),
    "no tokenizer": (remove("tokenizer.json", "tokenizer_config.json"), ["no tokenizer"]),
    "tokenizer cut": (write("tokenizer.json", b'{"version": '), ["tokenizer"]),
    "weights empty": (write("model.safetensors", b""), ["model.safetensors", "download"]),
    "weights cut in the header": (lambda folder: cut_weights(folder, 100), ["model.safetensors", "download"]),
    "weights cut in a tensor": (lambda folder: cut_weights(folder, 90_000), ["model.safetensors", "download"]),
    "weights are noise": (write("model.safetensors", bytes(range(256)) * 9), ["model.safetensors", "download"]),
    "weights are a git-lfs pointer": (write("model.safetensors", LFS), ["model.safetensors", "git lfs pull"]),
    "a shard is missing": (shard, ["model-00002-of-00002.safetensors", "missing"]),
    "a tensor is missing": (
        lambda folder: keep_tensors(folder, lambda name: "0.mlp.up_proj" not in name),
        ["model.layers.0.mlp.up_proj.weight", "missing"],
    ),
    "the head is missing": (
        lambda folder: keep_tensors(folder, lambda name: "lm_head" not in name), ["lm_head.weight", "missing"],
    ),
    "more blocks than weights": (lambda folder: configure(folder, num_hidden_layers=3), ["model.layers.2", "missing"]),
    "unknown architecture": (lambda folder: configure(folder, model_type="mystery"), ["mystery"]),
    "config nested deeply": (write("config.json", b"[" * 100_000), ["config.json", "nested too deeply"]),
    "index nested deeply": (write("model.safetensors.index.json", b"[" * 100_000), ["index.json", "nested too deeply"]),
    "index leads elsewhere": (
        write("model.safetensors.index.json", b'{"weight_map": {"x": "../y.safetensors"}}'), ["index.json", "../y"],
    ),
    "weights are whole numbers": (
        lambda folder: alter(folder, lambda values: values.astype(np.int32)), ["whole numbers (I32)", "cast"],
    ),
    "a weight is no number": (
        lambda folder: alter(folder, lambda values: np.where(values == values.max(), np.nan, values)),
        ["no finite number", "get the model again"],
    ),
    "its own code": (own_code, ["code", "--trust-remote-code"]),
    "its own tokenizer": (own_tokenizer, ["tokenizer", "--trust-remote-code"]),
}  # fmt: skip


@pytest.mark.parametrize("kind", BROKEN)
def test_model_that_cannot_be_used_is_named(train: Mistake, model: Path, backend: str, kind: str) -> None:
    breaks, words = BROKEN[kind]
    breaks(model)
    line = train("--backend", backend)
    for word in [str(model), *words]:
        assert word.lower() in line.lower()


def test_model_file_needs_trust(train: Mistake, model: Path, backend: str) -> None:
    configure(model, model_file="code.py")
    assert "--trust-remote-code" in train("--backend", backend)


@mlx_and_slow_cuda
def test_tied_head_may_be_missing(model: Path, tiny_pairs: Path, backend: str, tmp_path: Path) -> None:
    configure(model, tie_word_embeddings=True)
    keep_tensors(model, lambda name: "lm_head" not in name)
    assert finished(tmp_path, "--model", model, "--data", tiny_pairs, "--backend", backend, "--steps", 1)


def finished(folder: Path, *arguments: object) -> bool:
    """Train in this process, on the CPU."""
    from mio_local.cli import run

    return run([str(part) for part in ("train", "--runs", folder / "runs", "--device", "cpu", *arguments)]) == 0


@mlx_and_slow_cuda
def test_fewer_pairs_than_a_batch_train(model: Path, tiny_pairs: Path, backend: str, tmp_path: Path) -> None:
    few = tmp_path / "few.jsonl"
    few.write_text("".join(tiny_pairs.read_text(encoding="utf-8").splitlines(True)[:2]), encoding="utf-8")
    assert finished(tmp_path, "--model", model, "--data", few, "--backend", backend, "--batch-size", 8)


@pytest.mark.parametrize("name", ["nowhere/at/all", "./nowhere", "model/config.json"])
def test_model_that_is_no_folder_is_named(train: Mistake, name: str) -> None:
    assert name in train("--model", name)


def write_adapter(folder: Path, rank: int = 4, width: int = 32, layer: str = ADAPTED, **config: Any) -> Path:
    """A LoRA in PEFT's format on one layer."""
    folder.mkdir()
    targets = [layer.removeprefix("base_model.model.")]
    values = {"peft_type": "LORA", "r": rank, "lora_alpha": 8, "target_modules": targets, **config}
    (folder / "adapter_config.json").write_text(json.dumps(values), encoding="utf-8")
    tensors = {"A": np.zeros((rank, width), "f4"), "B": np.zeros((width, rank), "f4")}
    save_file(
        {f"{layer}.lora_{name}.weight": value for name, value in tensors.items()},
        str(folder / "adapter_model.safetensors"),
    )
    return folder


def adapter_without(name: str) -> Callable[[Path], object]:
    """An adapter folder that lacks a file."""
    return lambda folder: (write_adapter(folder) / name).unlink()


def adapter_with(name: str, content: bytes) -> Callable[[Path], object]:
    """An adapter folder with a file of that content."""
    return lambda folder: (write_adapter(folder) / name).write_bytes(content)


ADAPTERS: dict[str, tuple[Callable[[Path], object], list[str]]] = {
    "empty": (Path.mkdir, ["no adapter_config.json"]),
    "a file": (Path.touch, ["folder"]),
    "no weights": (adapter_without("adapter_model.safetensors"), ["adapter_model.safetensors"]),
    "config cut": (adapter_with("adapter_config.json", b'{"r": '), ["adapter_config.json", "JSON"]),
    "config a list": (adapter_with("adapter_config.json", b"[]"), ["adapter_config.json"]),
    "config without rank": (adapter_with("adapter_config.json", b"{}"), ["adapter_config.json", "lacks r"]),
    "rank is text": (lambda folder: write_adapter(folder, **{"r": "four"}), ["adapter_config.json", "four"]),
    "weights cut": (adapter_with("adapter_model.safetensors", b"12"), ["adapter_model.safetensors"]),
    "pickle": (
        lambda folder: (write_adapter(folder) / "adapter_model.safetensors").rename(folder / "adapter_model.bin"),
        ["adapter_model.bin", "pickle"],
    ),
    "of a wider base": (lambda folder: write_adapter(folder, width=64), ["(4, 64)", "(4, 32)", "another base"]),
    "of a deeper base": (
        lambda folder: write_adapter(folder, layer=ADAPTED.replace("0", "7")),
        ["model.layers.7.self_attn.q_proj", "another base"],
    ),
    "rank differs": (
        lambda folder: (write_adapter(folder) / "adapter_config.json").write_text('{"r": 8, "lora_alpha": 8}'),
        ["(4, 32)", "(8, 32)"],
    ),
    "no LoRA": (lambda folder: write_adapter(folder, peft_type="IA3"), ["IA3", "LORA"]),
}  # fmt: skip


@pytest.mark.parametrize("kind", ADAPTERS)
def test_adapter_that_cannot_be_used_is_named(train: Mistake, tmp_path: Path, backend: str, kind: str) -> None:
    makes, words = ADAPTERS[kind]
    makes(tmp_path / "adapter")
    line = train("--backend", backend, "--init-adapter", tmp_path / "adapter")
    for word in [str(tmp_path / "adapter"), *words]:
        assert word in line


@pytest.mark.parametrize("device", ["toaster", "cuda:x", "cuda:99", "gpu", "mps"])
def test_device_that_is_not_there_is_named(train: Mistake, backend: str, device: str) -> None:
    if backend == "mlx" and device == "gpu" and sys.platform == "darwin":
        pytest.skip("this machine has that device")
    line = train("--backend", backend, "--device", device)
    assert "cuda" in line if device == "cuda:99" else device in line or "--device cpu" in line


def test_cuda_without_a_gpu_names_the_cpu(train: Mistake) -> None:
    torch = pytest.importorskip("torch")
    if torch.cuda.is_available():
        pytest.skip("this machine has a CUDA GPU")
    assert "--device cpu" in train("--backend", "cuda", "--device", "auto")


@pytest.mark.parametrize(
    ("blocked", "backend", "remedy"),
    [
        ("torch", "cuda", installing("cuda")),
        pytest.param("peft", "cuda", installing("cuda"), marks=pytest.mark.slow),
        ("transformers", "mlx", "pip install "),
        ("mlx", "mlx", installing()),
        ("mlx,torch", "auto", installing()),
    ],
)
def test_missing_library_names_what_to_install(
    runs_home: Path, tiny_model: Path, tiny_pairs: Path, tmp_path: Path, blocked: str, backend: str, remedy: str
) -> None:
    block = f"import sys; sys.modules.update(dict.fromkeys({blocked.split(',')!r}))"
    code = f"{block}\nfrom mio_local.cli import main; main()"
    arguments = ["train", "--model", tiny_model, "--data", tiny_pairs, "--backend", backend]
    ended = subprocess.run([sys.executable, "-c", code, *map(str, arguments)], capture_output=True, text=True,
                           env=os.environ | {"MIO_LOCAL_PRELOAD": "0"}, timeout=100)  # fmt: skip
    assert ended.returncode == 2, ended.stderr
    assert ended.stderr.startswith("mio-local: "), ended.stderr
    assert ended.stderr.count("\n") == 1, ended.stderr
    assert remedy in ended.stderr
    assert blocked.partition(",")[0] in ended.stderr
    assert not runs_home.exists()
