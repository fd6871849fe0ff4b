"""Models as files: weights out of a quantised model, and what PEFT makes of an adapter."""

import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import torch
from peft import PeftModel
from peft.utils.integrations import dequantize_module_weight


def dense(model: torch.nn.Module) -> tuple[list[str], Iterator[tuple[str, np.ndarray]]]:
    """Names of the model's weights, and the weights, dequantised."""
    quantised = {name: module for name, module in model.named_modules() if is_quantised(module)}
    # named_parameters gives tied weights once, under the name that their files have
    plain = [(name, value) for name, value in model.named_parameters()
             if name.rpartition(".")[0] not in quantised or name.endswith(".bias")]  # fmt: skip

    def read() -> Iterator[tuple[str, np.ndarray]]:
        for name, value in plain:
            yield name, to_numpy(value)
        for name, module in quantised.items():
            yield f"{name}.weight", to_numpy(dequantize_module_weight(module))

    return [*(name for name, _ in plain), *(f"{name}.weight" for name in quantised)], read()


def is_quantised(module: torch.nn.Module) -> bool:
    """Whether bitsandbytes holds its weight."""
    return type(getattr(module, "weight", None)).__name__ in ("Params4bit", "Int8Params")


def logits(model: Any, device: torch.device, ids: Sequence[int], adapter: Path | None) -> np.ndarray:
    """Logits of `model` with the adapter as PEFT loads it, float32."""
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # of PEFT's, on settings of its own
        ready = PeftModel.from_pretrained(model, str(adapter)).eval() if adapter else model.eval()
        return ready(input_ids=torch.tensor([list(ids)], device=device)).logits[0].float().cpu().numpy()


def to_numpy(value: torch.Tensor) -> np.ndarray:
    """The tensor with its own dtype, bfloat16 included, which torch does not hand over."""
    value = value.detach().cpu().contiguous()
    if value.dtype == torch.bfloat16:
        return value.view(torch.uint16).numpy().view(ml_dtypes.bfloat16)
    return value.numpy()
