"""Models as files: weights out of a quantised one and back, where experts lie, and what mlx-lm makes of an adapter."""

import contextlib
import io
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import ml_dtypes
import mlx.core as mx
import mlx.nn as nn
import numpy as np
from mlx_lm.models.switch_layers import QuantizedSwitchLinear, SwitchLinear
from mlx_lm.tuner.utils import load_adapters
from mlx_lm.utils import load_model, quantize_model, save_config, save_model

from mio_local.adapters.merge import ExpertPlace
from mio_local.errors import ModelError
from mio_local.models.weights import stored_shapes
from mio_mlx.lora import leaves

QUANTISED = (nn.QuantizedLinear, nn.QuantizedEmbedding, QuantizedSwitchLinear)


def dense(model: Any) -> tuple[list[str], Iterator[tuple[str, np.ndarray]]]:
    """Names of the model's weights as mlx-lm has them, and the weights, dequantised."""
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
    layers = (module for _, module in model.named_modules() if isinstance(module, (nn.Linear, SwitchLinear)))
    widths = {layer.weight.shape[-1] for layer in layers}
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


def expert_places(model: Any, folder: Path, layers: Sequence[str]) -> list[ExpertPlace]:
    """The place of every expert of the stacked `layers` of `model` in the files of `folder`. Raises ModelError where
    the files hold them in another way than element by element.

    Each model type stacks in its own way (`sanitize`: experts one by one, several projections in one, turned or not).
    Whole numbers go through it in the weights' place, and where they come out says where a weight lies.
    """
    stored = stored_shapes(folder)
    names = [name for name, _, _ in stored]
    starts = np.cumsum([0, *(int(np.prod(shape, dtype=np.int64)) for _, shape, _ in stored)])
    numbers = {
        name: mx.arange(int(start), int(end), dtype=mx.int64).reshape(shape)  # lazy: no memory yet
        for (name, shape, _), start, end in zip(stored, starts, starts[1:], strict=False)
    }
    try:
        renamed = model.sanitize(numbers)
    except Exception as error:  # of a type whose weights are more than moved
        raise ModelError(f"{folder}: mlx-lm does more than move its weights, so experts are not merged; use --to mlx "
                         f"({type(error).__name__})") from None  # fmt: skip
    found: list[ExpertPlace] = []
    for layer in layers:
        where = np.array(renamed[f"{layer}.weight"]) if f"{layer}.weight" in renamed else np.zeros((1, 0, 0), np.int64)
        for expert, places in enumerate(where):
            found.append(_place(layer, expert, places, names, starts, folder))
    return found


def _place(
    layer: str, expert: int, places: np.ndarray, names: Sequence[str], starts: np.ndarray, folder: Path
) -> ExpertPlace:
    if places.dtype.kind == "i" and min(places.shape) > 1:
        first = int(places[0, 0])
        row, column = int(places[1, 0]) - first, int(places[0, 1]) - first
        grid = first + row * np.arange(places.shape[0])[:, None] + column * np.arange(places.shape[1])
        number = int(np.searchsorted(starts, first, side="right")) - 1
        if np.array_equal(places, grid) and starts[number] <= places.min() and places.max() < starts[number + 1]:
            return ExpertPlace(layer, expert, names[number], first - int(starts[number]), row, column)
    raise ModelError(f"{folder}: {layer} is not in its files element by element, so it is not merged; use --to mlx")
