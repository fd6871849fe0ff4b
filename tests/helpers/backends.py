"""Drive a backend by hand: load a model or make one in memory, give it an adapter, make batches, take steps."""

import importlib
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from mio_local.adapters.adapter import Adapter, SavedAdapter, choose_layers, draw_adapter
from mio_local.backends import Backend, Model
from mio_local.data.collate import Batch, collate
from mio_local.data.examples import Example
from mio_local.objectives.losses import LOSSES, objective
from mio_local.recipe import HAS_KERNELS, LoraSettings, ModelSettings, SpeedSettings, TrainSettings

BACKENDS = ("mlx", "cuda")
both = pytest.mark.parametrize("backend", BACKENDS)
# of tests that take ten seconds or more on either
mlx_and_slow_cuda = pytest.mark.parametrize("backend", ["mlx", pytest.param("cuda", marks=pytest.mark.slow)])
LORA = LoraSettings(rank=4, alpha=8)
TRAIN = TrainSettings(learning_rate=1e-2)
MIO = objective("mio", 0.1, "sum")
SIZES = {"vocab_size": 263, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2,
         "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 64}  # fmt: skip
TOKENS = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
MLX = {"rms_norm_eps": 1e-5, "rope_theta": 10000.0, "tie_word_embeddings": False, "head_dim": 8}


def need_library(name: str) -> None:
    """A visible skip where a backend's library is missing."""
    pytest.importorskip({"mlx": "mlx.core", "cuda": "peft"}[name])


def backend_of(name: str) -> Backend:
    """The backend's own class; a visible skip where its library is missing."""
    if name == "mlx":
        pytest.importorskip("mlx_lm")
        from mio_mlx import MlxBackend

        return MlxBackend()
    pytest.importorskip("torch")
    pytest.importorskip("peft")
    from mio_cuda import CudaBackend

    return CudaBackend()


def load(name: str, folder: Path, settings: ModelSettings | None = None, checkpoint: bool = False) -> Any:
    """The bare model in `folder` on the CPU; Any, because some tests look inside it."""
    return backend_of(name).load(folder, settings or ModelSettings(), "cpu", grad_checkpoint=checkpoint, seed=0)


def start(
    name: str,
    folder: Path,
    adapter: Adapter | SavedAdapter | None = None,
    lora: LoraSettings = LORA,
    train: TrainSettings = TRAIN,
    settings: ModelSettings | None = None,
    checkpoint: bool = False,
) -> Any:
    """A model ready to train, its adapter fresh or as given. A saved one brings its own rank, alpha and layers."""
    model = load(name, folder, settings, checkpoint)
    names = choose_layers(model.linear_layers(), lora)
    if isinstance(adapter, SavedAdapter):
        lora = adapter.settings
        names, adapter = adapter.names, adapter.weights
    slots = model.add_lora(lora, train, names)
    model.set_adapter(draw_adapter(slots, 0) if adapter is None else adapter)
    return model


def examples(count: int = 4, seed: int = 0, vocabulary: int = 250) -> list[Example]:
    """Pairs of random tokens: prompts of 3 to 12, answers of 2 to 14."""
    rng = np.random.default_rng(seed)
    lengths = zip(rng.integers(3, 13, count), *rng.integers(2, 15, (2, count)), strict=True)
    draw = [[rng.integers(0, vocabulary, n).tolist() for n in row] for row in lengths]
    return [Example(*ids, False, False, False, f"pair {i}") for i, ids in enumerate(draw)]


def batch_of(found: Sequence[Example], pairs: Sequence[int] | None = None, *, shared: bool = False) -> Batch:
    return collate(found, range(len(found)) if pairs is None else pairs, pad=0, shared=shared)


def refusals(model: Model, speed: SpeedSettings) -> dict[str, str]:
    """Turn these levers on; by lever, why the model cannot have it. MLX needs no layers fused."""
    return {lever: why for lever, why in model.use(speed).items() if why != HAS_KERNELS}


def step(
    model: Model, batches: Sequence[Batch], loss: str = "mio", beta: float = 0.1, rate: float = 1e-2,
    smoothing: float = 0.0,
) -> tuple[float, float]:
    """One optimiser step over the batches' pairs, as the trainer takes it: mean loss and gradient norm."""
    pairs = sum(batch.size for batch in batches)
    goal = objective(loss, beta, LOSSES[loss].reduction, smoothing)
    total = 0.0
    for batch in batches:
        total += model.accumulate(batch, model.logps(batch, reference=True), goal, 1 / pairs).loss
    return total / pairs, model.apply(rate)


def noisy(adapter: Adapter, size: float = 0.05, seed: int = 1) -> Adapter:
    """The adapter with noise on every weight, so that B is not zero."""
    rng = np.random.default_rng(seed)
    return {name: value + rng.normal(0, size, value.shape).astype(np.float32) for name, value in adapter.items()}


def gradients(model: Any) -> Adapter:
    """The pending gradient under canonical names."""
    if type(model).__name__ == "CudaModel":
        return {name: parameter.grad.numpy().copy() for name, parameter in model.parameters.items()}
    from mio_mlx import lora

    return lora.get_adapter(SimpleNamespace(trainable_parameters=lambda: model.gradient))


def forget(model: Any) -> None:
    """Drop the pending gradient."""
    if type(model).__name__ == "CudaModel":
        model.optimizer.zero_grad(set_to_none=True)
    else:
        model.gradient = None


def move(model: Any, adapter: Adapter) -> None:
    """Overwrite the policy's weights alone: the reference stays as it was set."""
    if type(model).__name__ == "CudaModel":
        from mio_cuda import lora
    else:
        from mio_mlx import lora
    lora.set_adapter(model.model, adapter)


def logits(model: Any, ids: Sequence[int]) -> np.ndarray:
    """Logits of a model of either library, (len(ids), vocabulary), float32."""
    inner = model.model if type(model).__name__ in ("MlxModel", "CudaModel") else model
    if type(inner).__module__.startswith("mlx_lm"):
        import mlx.core as mx

        return np.array(inner(mx.array([list(ids)])).astype(mx.float32))[0]
    import torch

    with torch.no_grad():
        return inner(input_ids=torch.tensor([list(ids)])).logits[0].float().numpy()


def state(model: Model, folder: Path) -> Path:
    """Save the model's state into a new folder."""
    folder.mkdir(parents=True, exist_ok=True)
    model.save_state(folder)
    return folder


def distance(one: Adapter, two: Adapter) -> float:
    """The largest difference between two adapters of the same tensors."""
    assert one.keys() == two.keys()
    return max(float(np.abs(one[name] - two[name]).max()) for name in one)


def equal(one: Adapter, two: Adapter) -> bool:
    """Equal to the bit."""
    return one.keys() == two.keys() and all(np.array_equal(one[name], two[name]) for name in one)


def adapted(model, layers=0, leaves=(), dropout=0.0):
    """With an adapter that moved, so that policy and reference differ; of the linear layers of some names alone, where
    `leaves` are given."""
    lora = LORA.model_copy(update={"layers": layers, "dropout": dropout})
    names = choose_layers(model.linear_layers(), lora)
    names = [name for name in names if not leaves or name.rpartition(".")[2] in leaves]
    slots = model.add_lora(lora, TRAIN, names)
    fresh = draw_adapter(slots, 0)
    model.set_adapter(fresh)
    move(model, noisy(fresh))
    return model


def by_torch(kind, layers=0, *, leaves=(), grad_checkpoint=False, **config):
    torch, transformers = pytest.importorskip("torch"), pytest.importorskip("transformers")
    from mio_cuda.backend import no_dropout
    from mio_cuda.model import CudaModel

    made = transformers.AutoConfig.for_model(kind, **{**SIZES, **TOKENS, **config})
    no_dropout(made)
    torch.manual_seed(0)
    net = transformers.AutoModelForCausalLM.from_config(made)
    return adapted(CudaModel(net, torch.device("cpu"), grad_checkpoint=grad_checkpoint), layers, leaves)


def by_mlx(kind, layers=0, *, leaves=(), dropout=0.0, grad_checkpoint=False, **config):
    """Weights with noise on them, as some layers of mlx-lm begin with zeros, of which a norm has no gradient."""
    mx = pytest.importorskip("mlx.core")
    mlx_models = importlib.import_module(f"mlx_lm.models.{kind}")
    from mlx.utils import tree_map

    from mio_mlx.model import MlxModel

    mx.set_default_device(mx.Device(mx.cpu))
    mx.random.seed(0)
    net = mlx_models.Model(mlx_models.ModelArgs.from_dict({"model_type": kind, **SIZES, **MLX, **config}))
    net.update(tree_map(lambda x: x + 0.02 * mx.random.normal(x.shape), net.parameters()))
    mx.eval(net.parameters())
    return adapted(MlxModel(net, grad_checkpoint=grad_checkpoint), layers, leaves, dropout)
