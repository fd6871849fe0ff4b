"""The linear layers of a transformers model that an adapter can be on, and those that all-linear does not mean."""

from collections.abc import Iterator
from typing import cast

import torch
from torch.func import functional_call
from transformers.pytorch_utils import Conv1D

from mio_local.adapters.library_limits import ROUTER, ROUTES, refused_by_mlx, refused_by_peft
from mio_local.models.weights import BLOCK


def linear_layers(model: torch.nn.Module) -> list[str]:
    """Full names of the linear layers inside numbered blocks that PEFT adapts, quantised ones included, in the model's
    order."""
    names = _linears(model)
    refused = refused_by_peft(_kind(model), names)
    return [name for name in names if name not in refused]


def left_out(model: torch.nn.Module) -> dict[str, str]:
    """What all-linear does not mean, by name, and why: experts and their routers, and what either library lacks."""
    names, stacks = _linears(model), list(_stacks(model))

    def is_router(name: str) -> bool:
        out = model.get_submodule(name).get_parameter("weight").shape[0]
        return any(
            name.startswith(f"{block}.") and not name.startswith(f"{stack}.") and out == count
            and ROUTER.search(name.removeprefix(block))
            for stack, block, count in stacks
        )  # fmt: skip

    experts = [name for name in names if any(name.startswith(f"{stack}.") for stack, _, _ in stacks)]
    return {
        **refused_by_mlx(_kind(model), names),
        **refused_by_peft(_kind(model), names),
        **dict.fromkeys(experts, "one of the experts"),
        **dict.fromkeys(filter(is_router, names), ROUTES),
    }


def _stacks(model: torch.nn.Module) -> Iterator[tuple[str, str, int]]:
    """What holds experts, the module that this is in, and how many there are: one parameter for all, or a list."""
    for name, module in model.named_modules():
        if not BLOCK.match(name):
            continue
        counts = [value.shape[0] for value in module.parameters(recurse=False) if value.ndim == 3]
        if isinstance(module, torch.nn.ModuleList) and name.endswith(".experts"):
            counts.append(len(module))
        if counts and not isinstance(module, torch.nn.modules.conv._ConvNd):  # pyright: ignore[reportPrivateUsage]
            yield name, name.rpartition(".")[0], counts[0]


def _linears(model: torch.nn.Module) -> list[str]:
    return [name for name, module in model.named_modules() if BLOCK.match(name) and _is_linear(module)]


def _is_linear(module: torch.nn.Module) -> bool:
    """Whether it computes W x + b: what only inherits from Linear may be a router, which gives a pair."""
    if not isinstance(module, (torch.nn.Linear, Conv1D)):
        return False
    if type(module).forward in (torch.nn.Linear.forward, Conv1D.forward):
        return True
    return type(module).__module__.startswith("bitsandbytes.") or _is_affine(module)


def _is_affine(module: torch.nn.Module) -> bool:
    """Whether a linear layer's own forward, with a small weight in the place of its own, gives W x + b."""
    weight, bias = torch.tensor([[1.0, 2.0], [3.0, -1.0], [0.5, 0.25]]), torch.tensor([1.0, 0.0, -2.0])
    given = {"weight": weight, "bias": bias} if "bias" in dict(module.named_parameters()) else {"weight": weight}
    x = torch.tensor([[[0.5, -1.0], [2.0, 1.0]]])
    try:
        found = functional_call(module, given, (x,))
    except Exception:  # whatever it needs beside a weight
        return False
    return isinstance(found, torch.Tensor) and torch.equal(found, x @ weight.T + given.get("bias", 0.0))


def _kind(model: torch.nn.Module) -> str:
    return str(getattr(cast("object", getattr(model, "config", None)), "model_type", ""))
