"""Tiny random models of several families, written as a hub has them, and their exact log-probs by transformers."""

import json
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import zip_longest
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from mio_local.adapters.adapter import Adapter
from mio_local.data.examples import Example
from mio_local.recipe import LoraSettings

WINDOW, VOCABULARY = 6, 263  # 263 is prime: no other axis is as long
SLIDING, FULL = "sliding_attention", "full_attention"
MIXED = [SLIDING, FULL, SLIDING]
SIZES = {
    "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 3, "num_attention_heads": 4,
    "num_key_value_heads": 2, "vocab_size": VOCABULARY, "max_position_embeddings": 512, "tie_word_embeddings": False,
    "bos_token_id": None, "eos_token_id": 1, "pad_token_id": None,
}  # fmt: skip
ROPE = {"rope_type": "llama3", "rope_theta": 10000.0, "factor": 4.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
        "original_max_position_embeddings": 16}  # fmt: skip


@dataclass(frozen=True)
class Family:
    """transformers' own `config` of a model type; `added` is what mlx-lm reads in config.json beside it; `by_mlx` is
    the config, as transformers understands it, of the model that mlx-lm makes of the file, where that is another."""

    kind: str
    config: dict[str, Any] = field(default_factory=dict)
    added: dict[str, Any] = field(default_factory=dict)
    by_mlx: dict[str, Any] = field(default_factory=dict)


NO_WINDOW = {"layer_types": [FULL] * 3}  # mlx-lm's Qwen 2, Qwen 3 and Gemma 2 have no sliding window
FAMILIES = {
    "llama": Family("llama", {"num_attention_heads": 8}),
    "llama3": Family("llama", {"rope_parameters": ROPE, "tie_word_embeddings": True}, {"rope_scaling": ROPE}),
    "qwen2": Family("qwen2", {"use_sliding_window": True, "sliding_window": WINDOW, "layer_types": MIXED},
                    by_mlx=NO_WINDOW),
    "qwen3": Family("qwen3", {"use_sliding_window": True, "sliding_window": WINDOW, "layer_types": MIXED,
                              "head_dim": 16, "tie_word_embeddings": True}, by_mlx=NO_WINDOW),
    "gemma2": Family("gemma2", {"sliding_window": WINDOW, "layer_types": MIXED, "head_dim": 16,
                                "query_pre_attn_scalar": 12, "attn_logit_softcapping": 5.0,
                                "final_logit_softcapping": 3.0, "tie_word_embeddings": True}, by_mlx=NO_WINDOW),
    # 36 is a square: mlx-lm rounds the embeddings' factor, its root, to bfloat16
    "gemma3": Family("gemma3_text", {"sliding_window": WINDOW, "layer_types": [SLIDING, FULL, SLIDING, FULL],
                                     "num_hidden_layers": 4, "hidden_size": 36, "head_dim": 16,
                                     "query_pre_attn_scalar": 12, "tie_word_embeddings": True,
                                     "rope_parameters": {SLIDING: {"rope_type": "default", "rope_theta": 100.0},
                                                         FULL: {"rope_type": "default", "rope_theta": 10000.0}}},
                     {"sliding_window_pattern": 2, "rope_local_base_freq": 100.0}),
    # every block slides; in mlx-lm those that layer_types names, as in transformers' Ministral
    "mistral": Family("mistral", {"sliding_window": WINDOW}, {"layer_types": MIXED},
                      {"kind": "ministral", "layer_types": MIXED, "head_dim": 8}),
    "lfm2": Family("lfm2", {"layer_types": ["conv", FULL, "conv"], "tie_word_embeddings": True,
                            "block_auto_adjust_ff_dim": False}, {"block_dim": 32}),
}  # fmt: skip


LENGTHS = [(20, 20, 3), (3, 1, 17), (11, 9, 1), (14, 1, 1), (5, 8, 13)]
# groups of two to five answers, some of one token or absent, also the chosen one; prompts of one token and of many
GROUPS = [(20, 20, 3, 7), (3, 1, 17, 1, 9, 2), (11, 0, 1, 4, 2), (1, 12, 5, 6, 3), (9, 6, 0, 0, 5), (1, 1, 2)]


def pairs_of(seed: int = 0, lengths: Sequence[tuple[int, ...]] = LENGTHS) -> list[Example]:
    """Pairs of random tokens, of such prompts, chosen, rejected and other answers: some of one token, most rows padded.
    """
    rng = np.random.default_rng(seed)
    draw = [[rng.integers(0, 250, n).tolist() for n in row] for row in lengths]
    return [
        Example(*ids[:3], False, False, False, f"pair {i}", others=tuple(ids[3:])) for i, ids in enumerate(draw)
    ]  # fmt: skip


def _config(family: Family, **changes: Any) -> Any:
    transformers = pytest.importorskip("transformers")
    settings = {**SIZES, **family.config, **changes}
    return transformers.AutoConfig.for_model(settings.pop("kind", family.kind), **settings)


def write_family(folder: Path, name: str, backend: str, seed: int = 0) -> Path:
    """Write config and weights of the family `name` for one library."""
    transformers = pytest.importorskip("transformers")
    family = FAMILIES[name]
    transformers.utils.logging.disable_progress_bar()
    transformers.AutoModelForCausalLM.from_config(_config(family)).save_pretrained(folder)
    rng = np.random.default_rng(seed)
    shapes = {key: value.shape for key, value in sorted(load_file(folder / "model.safetensors").items())}
    tensors = {key: _drawn(key, shape, name, rng) for key, shape in shapes.items()}
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})
    if backend == "mlx":
        file = folder / "config.json"
        config = json.loads(file.read_text(encoding="utf-8"))
        file.write_text(json.dumps({"rope_theta": 10000.0, **config, **family.added}), encoding="utf-8")
    return folder


def _drawn(key: str, shape: tuple[int, ...], name: str, rng: np.random.Generator) -> np.ndarray:
    """Matrices that keep lengths, heads and embeddings that make logits of a few nats, norms that are not all one."""
    if len(shape) > 1:
        size = shape[-1] ** -0.5 * (2 if "embed" in key or "lm_head" in key else 1)
        return rng.normal(0, size, shape).astype(np.float32)
    middle = 0.0 if key.endswith("bias") or "gemma" in name else 1.0  # Gemma's norms add one
    return rng.normal(middle, 0.3, shape).astype(np.float32)


Scorer = Callable[[Sequence[Example], Adapter], np.ndarray]


def exact(folder: Path, name: str, backend: str, lora: LoraSettings, **changes: Any) -> Scorer:
    """Log-probs (A * n,) of groups by transformers' plain forward pass in float64, one unpadded row for each answer,
    the adapter added to the weights by hand; `changes` are other settings of its config."""
    torch, transformers = pytest.importorskip("torch"), pytest.importorskip("transformers")
    config = _config(FAMILIES[name], **(FAMILIES[name].by_mlx if backend == "mlx" else {}), **changes)
    model = transformers.AutoModelForCausalLM.from_pretrained(
        folder, config=config, dtype=torch.float64, attn_implementation="eager"
    ).eval()

    def score(found: Sequence[Example], adapter: Adapter) -> np.ndarray:
        weights = dict(model.named_parameters())
        for layer in {key.rpartition(".")[0] for key in adapter}:
            a, b = (torch.tensor(adapter[f"{layer}.{leaf}"], dtype=torch.float64) for leaf in ("lora_A", "lora_B"))
            weights[f"{layer}.weight"] = weights[f"{layer}.weight"] + lora.alpha / lora.rank * b @ a
        logps: list[float] = []
        answers = zip_longest(*(e.answers for e in found), fillvalue=[])
        for e, answer in (each for together in answers for each in zip(found, together, strict=True)):
            if not answer:
                logps.append(0.0)
                continue
            prompt, ids = e.prompt, torch.tensor([e.prompt + answer])
            with torch.no_grad():
                logits = torch.func.functional_call(model, weights, (ids,)).logits[0, len(prompt) - 1 : -1]
            logps.append(float(torch.log_softmax(logits.double(), -1).gather(-1, ids[0, len(prompt) :, None]).sum()))
        return np.array(logps)

    return score


@contextmanager
def rows_of_logits() -> Generator[list[int]]:
    """The most rows, as long as the vocabulary, that PyTorch's tensors held at once while this was open, as [rows]."""
    torch = pytest.importorskip("torch")
    from torch.multiprocessing.reductions import StorageWeakRef
    from torch.utils._python_dispatch import TorchDispatchMode

    alive: dict[int, tuple[Any, int]] = {}
    most = [0]

    class Watch(TorchDispatchMode):
        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            out = func(*args, **(kwargs or {}))
            for x in torch.utils._pytree.tree_leaves(out):
                # a transposed weight is that long too, but is a view
                if isinstance(x, torch.Tensor) and x.ndim and x.shape[-1] == VOCABULARY and x.is_contiguous():
                    held = StorageWeakRef(x.untyped_storage())
                    alive[held.cdata] = held, x.numel() // VOCABULARY
            for key in [key for key, (held, _) in alive.items() if held.expired()]:
                del alive[key]
            most[0] = max(most[0], sum(rows for _, rows in alive.values()))
            return out

    with Watch():
        yield most
