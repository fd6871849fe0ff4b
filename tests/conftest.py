"""Fixtures that several test files share."""

import json
import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file
from tokenizers import Tokenizer, decoders
from tokenizers.models import BPE
from tokenizers.pre_tokenizers import ByteLevel

from mio_local.cli import main
from mio_local.runs import launch as launching

os.environ["TZ"] = "UTC"  # the app shows clock times
time.tzset()
os.environ["MIO_LOCAL_THEME"] = "mio-dark"  # else the app would choose by this terminal's colours
os.environ["MIO_LOCAL_PRELOAD"] = "0"  # else a command run in this process would start pytest again
os.environ["MIO_LOCAL_CACHE"] = tempfile.mkdtemp(prefix="mio-local-cache-")  # reference log-probs of no other session
SHARED = Path(__file__).resolve().parents[2] / "shared"


@pytest.fixture(scope="session")
def shared():
    """The folder of real data and models beside the repository; the test skips where it is missing."""
    if not SHARED.is_dir():
        pytest.skip(f"no {SHARED}: real data and models are not on this machine")
    return SHARED


CHATML = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>\\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random Llama of 2 blocks and width 32, with a byte tokenizer and a ChatML template. Copy it to change it."""
    return write_tiny_model(tmp_path_factory.mktemp("models") / "tiny-llama")


@pytest.fixture(scope="session")
def tiny_pairs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A JSONL file of 24 pairs, prompt, chosen and rejected, all of different prompts. Copy it to change it."""
    file = tmp_path_factory.mktemp("data") / "pairs.jsonl"
    rows = [
        {"prompt": f"What is {n} + {n + 1}?", "chosen": f"It is {2 * n + 1}.", "rejected": f"It is {2 * n + 3}, or so."}
        for n in range(24)
    ]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return file


def write_tiny_model(folder: Path, width: int = 32, blocks: int = 2, seed: int = 0) -> Path:
    """Write config, weights and tokenizer of a random Llama; needs neither torch nor mlx."""
    folder.mkdir(parents=True, exist_ok=True)
    vocabulary = _write_tokenizer(folder)
    config = {
        "architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": width, "head_dim": width // 4,
        "intermediate_size": 2 * width, "num_hidden_layers": blocks, "num_attention_heads": 4, "num_key_value_heads": 2,
        "vocab_size": vocabulary, "max_position_embeddings": 2048, "rms_norm_eps": 1e-5, "rope_theta": 10000.0,
        "tie_word_embeddings": False, "hidden_act": "silu", "attention_bias": False, "mlp_bias": False,
        "bos_token_id": None, "eos_token_id": vocabulary - 2, "pad_token_id": vocabulary - 1, "dtype": "float32",
    }  # fmt: skip
    (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
    shapes = {"model.embed_tokens": (vocabulary, width), "lm_head": (vocabulary, width), "model.norm": (width,)}
    for block in range(blocks):
        layer = f"model.layers.{block}"
        shapes |= {
            f"{layer}.input_layernorm": (width,), f"{layer}.post_attention_layernorm": (width,),
            f"{layer}.self_attn.q_proj": (width, width), f"{layer}.self_attn.o_proj": (width, width),
            f"{layer}.self_attn.k_proj": (width // 2, width), f"{layer}.self_attn.v_proj": (width // 2, width),
            f"{layer}.mlp.gate_proj": (2 * width, width), f"{layer}.mlp.up_proj": (2 * width, width),
            f"{layer}.mlp.down_proj": (width, 2 * width),
        }  # fmt: skip
    rng = np.random.default_rng(seed)
    tensors = {
        f"{name}.weight": (rng.normal(0, shape[-1] ** -0.5, shape) if len(shape) == 2 else np.ones(shape)).astype("f4")
        for name, shape in shapes.items()
    }
    save_file(tensors, str(folder / "model.safetensors"), metadata={"format": "pt"})
    return folder


def _write_tokenizer(folder: Path) -> int:
    special = ["<|im_start|>", "<|im_end|>", "<|pad|>"]
    vocabulary = {symbol: number for number, symbol in enumerate(sorted(ByteLevel.alphabet()))}
    tokenizer = Tokenizer(BPE(vocabulary, []))
    tokenizer.pre_tokenizer = ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(special)
    tokenizer.save(str(folder / "tokenizer.json"))
    settings = {
        "tokenizer_class": "PreTrainedTokenizerFast", "eos_token": special[1], "pad_token": special[2],
        "bos_token": None, "model_max_length": 2048, "chat_template": CHATML, "clean_up_tokenization_spaces": False,
    }  # fmt: skip
    (folder / "tokenizer_config.json").write_text(json.dumps(settings, indent=2) + "\n", encoding="utf-8")
    return tokenizer.get_vocab_size()


@pytest.fixture
def runs_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder where this test's runs live; it does not exist yet."""
    monkeypatch.setenv("MIO_LOCAL_RUNS", str(tmp_path / "runs"))
    return tmp_path / "runs"


@pytest.fixture
def mistake(
    tmp_path: Path, runs_home: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Callable[..., str]:
    """Call it with the arguments of a command that must fail: exit code 2, one line on stderr, which it returns, and
    not one file of the test's folder or of the runs made, changed or deleted."""

    def fails(*arguments: object) -> str:
        before = files_below(tmp_path)
        monkeypatch.setattr(sys, "argv", ["mio-local", *map(str, arguments)])
        monkeypatch.chdir(tmp_path)
        capfd.readouterr()
        with pytest.raises(SystemExit) as ended:
            main()
        error = capfd.readouterr().err
        assert ended.value.code == 2, error
        assert error.startswith("mio-local: "), error
        assert error.count("\n") == 1, error
        assert error.endswith("\n")
        assert files_below(tmp_path) == before
        return error.strip()

    return fails


def files_below(folder: Path) -> dict[str, tuple[int, int]]:
    """Every file and folder with its size and time of change."""
    found = {str(path): path.lstat() for path in folder.rglob("*")}
    return {path: (stat.st_size, stat.st_mtime_ns) for path, stat in found.items()}


@pytest.fixture
def launched(monkeypatch):
    """What would have been trained in the background."""
    queues = []
    for place in (launching.__name__, "mio_tui.new.begin"):
        monkeypatch.setattr(f"{place}.launch", lambda queue: queues.append([run.name for run in queue]))
    return queues


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "runs"


@pytest.fixture(scope="module")
def two_lanes():
    """Of PyTorch, whose tests have a core each."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("mio_cuda.parallel.THREADS", 2)
        patch.setattr("mio_cuda.parallel.threads", lambda: 2)
        yield
