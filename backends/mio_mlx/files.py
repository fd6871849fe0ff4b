"""Models as files: weights out of a quantised model and back, and what mlx-lm makes of an adapter."""

import contextlib
import io
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import ml_dtypes
import mlx.core as mx
import mlx.nn as nn
import numpy as np
from mlx_lm.models.switch_layers import QuantizedSwitchLinear
from mlx_lm.tuner.utils import load_adapters
from mlx_lm.utils import load_model, quantize_model, save_config, save_model

from mio_local.errors import ModelError
from mio_mlx.lora import leaves

QUANTISED = (nn.QuantizedLinear, nn.QuantizedEmbedding)


def dense(model: Any) -> tuple[list[str], Iterator[tuple[str, np.ndarray]]]:
    """Names of the model's weights, and the weights, dequantised. Raises ModelError for experts that mlx-lm stacks:
    Hugging Face's files hold them one by one."""
    if stacked := [name for name, module in model.named_modules() if isinstance(module, QuantizedSwitchLinear)]:
        raise ModelError(f"{stacked[0]}: quantised experts are not dequantised here; use --to mlx, or the plain base")
    quantised = {name: module for name, module in model.named_modules() if isinstance(module, QUANTISED)}
    plain = [(name, value) for name, value in leaves(model.parameters()) if name.rpartition(".")[0] not in quantised]
    biases = [(f"{name}.bias", module["bias"]) for name, module in quantised.items() if "bias" in module]

    def read() -> Iterator[tuple[str, np.ndarray]]:
        for name, value in plain + biases:
            yield name, to_numpy(value)
        for name, module in quantised.items():
            weight = mx.dequantize(
                module.weight, module.scales, module.get("biases"), module.group_size, module.bits, module.mode
            )
            yield f"{name}.weight", to_numpy(weight)

    return [*(name for name, _ in plain + biases), *(f"{name}.weight" for name in quantised)], read()


def to_numpy(value: mx.array) -> np.ndarray:
    """The array with its own dtype, bfloat16 included, which mlx does not hand over."""
    if value.dtype == mx.bfloat16:
        return np.array(value.view(mx.uint16)).view(ml_dtypes.bfloat16)
    return np.array(value)


def quantised(model: Any, config: dict[str, Any], bits: int) -> tuple[Any, dict[str, Any]]:
    """The model with its linear layers and embeddings quantised, and its config, in mlx-lm's own way."""
    widths = {value.shape[-1] for name, value in leaves(model.parameters()) if name.endswith("proj.weight")}
    group = 64 if all(width % 64 == 0 for width in widths) else 32
    with contextlib.redirect_stdout(io.StringIO()):  # it prints its own report
        return quantize_model(model, config, group, bits)


def write_quantised(folder: Path, bits: int) -> None:
    """Replace the weights in `folder` by mlx-lm's quantised ones."""
    model, config = quantised(*load_model(folder), bits)
    mx.eval(model.parameters())
    for file in folder.glob("*.safetensors*"):
        file.unlink()
    save_model(folder, model)
    save_config(config, folder / "config.json")


def logits(model: Any, ids: Sequence[int], adapter: Path | None) -> np.ndarray:
    """Logits of `model` with the adapter as mlx-lm loads it, float32."""
    if adapter:
        load_adapters(model, str(adapter))
    return np.array(model(mx.array([list(ids)])).astype(mx.float32))[0]
