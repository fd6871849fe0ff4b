"""The adapter inside an mlx-lm model: put it in, read and write its weights, save it as mlx-lm does."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import mlx.core as mx
import mlx.nn as nn
import numpy as np
from mlx.utils import tree_flatten, tree_unflatten
from mlx_lm.models.switch_layers import QuantizedSwitchLinear, SwitchLinear
from mlx_lm.tuner.utils import linear_to_lora_layers

from mio_local.adapters.adapter import MLX, ORIGIN, Adapter, Slot
from mio_local.adapters.convert import peft_config
from mio_local.adapters.layer_names import mlx_config
from mio_local.adapters.terms import in_one, rank_of, scale_of
from mio_local.errors import ModelError
from mio_local.recipe import LoraSettings
from mio_mlx.linears import linear_layers


def add_lora(model: Any, settings: LoraSettings, names: Sequence[str]) -> tuple[dict[str, Any], dict[str, str]]:
    """Freeze the model and put mlx-lm's LoRA or DoRA layers on `names`. Returns the config that reloads them, and the
    file's metadata: the same in PEFT's words, where mlx-lm's do not tell all."""
    for name, module in model.named_modules():
        if settings.dora and name in set(names) and isinstance(module, (SwitchLinear, QuantizedSwitchLinear)):
            raise ModelError(f"--dora: mlx-lm has no DoRA for stacked experts ({name}); name other --targets")
        if settings.dora and name in set(names) and isinstance(module, nn.QuantizedLinear) and 32 % module.bits:
            raise ModelError(f"--dora: mlx-lm has no DoRA for {module.bits}-bit layers; use a 4- or 8-bit base")
    present = linear_layers(model)
    config = mlx_config(settings, names, present)
    told = not (settings.rslora or settings.rank_pattern or settings.alpha_pattern)
    metadata = {} if told else {ORIGIN: json.dumps(peft_config(settings, names, present))}
    model.freeze()
    groups: dict[tuple[int, float], list[str]] = {}
    for name in names:
        groups.setdefault((rank_of(settings, name), scale_of(settings, name)), []).append(name)
    for (rank, scale), keys in groups.items():
        parameters = config["lora_parameters"]
        if len(groups) > 1:
            parameters = parameters | {"rank": rank, "scale": scale, "keys": keys}
        linear_to_lora_layers(model, config["num_layers"], parameters, use_dora=settings.dora)
    if not tree_flatten(model.trainable_parameters()):
        raise ModelError("no trainable weight was found after adding the adapter")
    return config, metadata


def leaves(tree: Any) -> list[tuple[str, mx.array]]:
    """The tree's arrays by dotted name."""
    return tree_flatten(tree)  # type: ignore[return-value] - typed as a union with the dict that another call gives


def slots(model: Any, names: Sequence[str]) -> list[Slot]:
    """The canonical shapes of the adapter on `names`."""
    modules = dict(model.named_modules())
    found: list[Slot] = []
    for name in names:
        a, b = modules[name].lora_a.shape, modules[name].lora_b.shape
        if len(a) == 2:  # plain layers are stored transposed
            a, b = a[::-1], b[::-1]
        found.append(Slot(name, tuple(a), tuple(b), fan_in=a[-1]))
    return found


def get_adapter(model: Any) -> Adapter:
    """The trainable weights, under canonical names and shapes."""
    back = {leaf: canonical for canonical, leaf in MLX.items()}
    adapter: Adapter = {}
    for key, value in leaves(model.trainable_parameters()):
        layer, _, leaf = key.rpartition(".")
        array = np.array(value.astype(mx.float32))
        adapter[f"{layer}.{back[leaf]}"] = array.T if array.ndim == 2 else array
    return adapter


def set_adapter(model: Any, adapter: Adapter) -> None:
    """Write canonical weights into the model. Raises ModelError for a missing, unknown or misshapen tensor."""
    now = dict(tree_flatten(model.trainable_parameters()))
    new: dict[str, mx.array] = {}
    for key, value in adapter.items():
        layer, _, leaf = key.rpartition(".")
        name = f"{layer}.{MLX[leaf]}"
        array = mx.array(np.ascontiguousarray(value.T if value.ndim == 2 else value))
        if name not in now:
            raise ModelError(f"the adapter's {key} fits no layer of this model: it was trained on another base")
        if array.shape != now[name].shape:
            raise ModelError(
                f"the adapter's {key} has shape {tuple(value.shape)}, the model's layer needs another: another base?"
            )
        new[name] = array
    # DoRA's magnitudes are drawn from the base weights, so a fresh adapter leaves them out
    missing = [name for name in now if name not in new and not name.endswith(".m")]
    if missing:
        raise ModelError(f"the adapter lacks {len(missing)} tensors of the model, {missing[0]} among them")
    model.update(tree_unflatten(list(new.items())))
    mx.eval(model.trainable_parameters())


def save_adapter(
    model: Any, settings: LoraSettings, config: dict[str, Any], metadata: dict[str, str], folder: Path
) -> None:
    """adapters.safetensors and adapter_config.json, as `mlx_lm.load(adapter_path=...)` reads them."""
    folder.mkdir(exist_ok=True)  # and none above it: a run that was moved away is not begun anew
    weights = dict(leaves(model.trainable_parameters()))
    if ORIGIN in metadata:
        together = in_one(get_adapter(model), settings)
        weights = {
            f"{layer}.{MLX[leaf]}": mx.array(np.ascontiguousarray(value.T if value.ndim == 2 else value))
            for (layer, _, leaf), value in ((key.rpartition("."), value) for key, value in together.items())
        }
    mx.save_safetensors(str(folder / "adapters.safetensors"), weights, metadata)
    (folder / "adapter_config.json").write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
