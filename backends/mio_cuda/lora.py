"""The adapter inside a transformers model, by PEFT: put it in, read and write its weights."""

import json
import re
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from peft import LoraConfig, PeftModel, get_peft_model

from mio_cuda.linears import linear_layers
from mio_local.adapters.adapter import Adapter, Slot
from mio_local.adapters.layer_names import peft_layers
from mio_local.errors import ModelError
from mio_local.recipe import LoraSettings

LEAVES = {
    "lora_A": "lora_A.default.weight",
    "lora_B": "lora_B.default.weight",
    "magnitude": "lora_magnitude_vector.default.weight",
}
KEY = re.compile(r"^base_model\.model\.(?P<layer>.+)\.(?P<leaf>lora_A|lora_B|lora_magnitude_vector)\.default\.weight$")


def add_lora(model: Any, settings: LoraSettings, names: Sequence[str]) -> PeftModel:
    """Freeze the model and wrap `names` with PEFT's LoRA or DoRA layers."""
    if quantised := bool(getattr(model, "is_loaded_in_4bit", False) or getattr(model, "is_loaded_in_8bit", False)):
        for parameter in model.parameters():
            parameter.requires_grad_(False)
    if settings.dora and getattr(model, "is_loaded_in_8bit", False) and model.device.type == "cpu":
        raise ModelError("--dora: PEFT loses the scales of an 8-bit base on a CPU; use --quantize 4")
    config = LoraConfig(
        task_type="CAUSAL_LM",
        r=settings.rank,
        lora_alpha=settings.alpha,  # pyright: ignore[reportArgumentType] - annotated int, used as a number
        lora_dropout=settings.dropout,
        use_dora=settings.dora,
        use_rslora=settings.rslora,
        rank_pattern=dict(settings.rank_pattern),
        alpha_pattern=dict(settings.alpha_pattern),
        **peft_layers(names, linear_layers(model), [name for name, _ in model.named_modules()]),
    )
    with warnings.catch_warnings():
        # PEFT 0.21 asks transformers 5.23 in a way that it deprecates
        warnings.filterwarnings("ignore", message="`is_gradient_checkpointing`", category=FutureWarning)
        # of a foreign adapter's; the recipe's own were looked at
        warnings.filterwarnings("ignore", message="The following (rank|alpha)_pattern keys", category=RuntimeWarning)
        wrapped = get_peft_model(model, config)
    if not any(parameter.requires_grad for parameter in wrapped.parameters()):
        raise ModelError("no trainable weight was found after adding the adapter")
    if quantised:
        wrapped.config.use_cache = False
    return wrapped  # type: ignore[return-value]


def trainable(model: PeftModel) -> dict[str, torch.nn.Parameter]:
    """The adapter's parameters by canonical name, in the model's order."""
    found: dict[str, torch.nn.Parameter] = {}
    for key, parameter in model.named_parameters():
        if parameter.requires_grad and (match := KEY.match(key)):
            leaf = "magnitude" if match["leaf"] == "lora_magnitude_vector" else match["leaf"]
            found[f"{match['layer']}.{leaf}"] = parameter
    return found


def slots(model: PeftModel, names: Sequence[str]) -> list[Slot]:
    """The canonical shapes of the adapter on `names`. Raises ModelError where PEFT adapts another layer instead, as it
    does for dense blocks of a model with experts."""
    parameters = trainable(model)
    found: list[Slot] = []
    for name in names:
        if f"{name}.lora_A" not in parameters:
            rest = [other for other in names if f"{other}.lora_A" in parameters]
            kinds = ",".join(sorted({other.rpartition(".")[2] for other in rest}))
            raise ModelError(f"{name}: this release of PEFT adapts another layer in its place; leave it out, with: "
                             f"--targets {kinds}")  # fmt: skip
        a, b = parameters[f"{name}.lora_A"].shape, parameters[f"{name}.lora_B"].shape
        found.append(Slot(name, tuple(a), tuple(b), fan_in=a[-1]))
    return found


def get_adapter(model: PeftModel) -> Adapter:
    """The trainable weights, under canonical names."""
    return {name: p.detach().float().cpu().numpy().copy() for name, p in trainable(model).items()}


def set_adapter(model: PeftModel, adapter: Adapter) -> None:
    """Write canonical weights into the model. Raises ModelError for a missing, unknown or misshapen tensor."""
    parameters = trainable(model)
    for key, value in adapter.items():
        if key not in parameters:
            raise ModelError(f"the adapter's {key} fits no layer of this model: it was trained on another base")
        if tuple(value.shape) != tuple(parameters[key].shape):
            raise ModelError(
                f"the adapter's {key} has shape {tuple(value.shape)}, the model's layer needs "
                f"{tuple(parameters[key].shape)}: another base?"
            )
    # DoRA's magnitudes are drawn from the base weights, so a fresh adapter leaves them out
    missing = [key for key in parameters if key not in adapter and not key.endswith(".magnitude")]
    if missing:
        raise ModelError(f"the adapter lacks {len(missing)} tensors of the model, {missing[0]} among them")
    with torch.no_grad():
        for key, value in adapter.items():
            parameters[key].copy_(torch.from_numpy(np.ascontiguousarray(value)))


def save_adapter(model: Any, patterns: dict[str, dict[str, Any]], folder: Path) -> None:
    """Write the adapter as PEFT does, alike in every process; `patterns` as they were given."""
    folder.mkdir(exist_ok=True)  # PEFT would make those above it too, of a run that was moved away
    model.save_pretrained(str(folder), safe_serialization=True)
    (folder / "README.md").unlink(missing_ok=True)  # PEFT's empty model card
    config = json.loads((folder / "adapter_config.json").read_text(encoding="utf-8"))
    if isinstance(config["target_modules"], list):
        config["target_modules"].sort()  # PEFT writes a set, whose order changes from process to process
    config |= patterns  # of which the first counts that matches; PEFT sorts them
    (folder / "adapter_config.json").write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
