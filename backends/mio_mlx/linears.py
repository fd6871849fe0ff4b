"""The linear layers of an mlx-lm model that an adapter can be on, and those that all-linear does not mean."""

from typing import Any

import mlx.nn as nn
from mlx_lm.models.switch_layers import QuantizedSwitchLinear, SwitchLinear

from mio_local.adapters.library_limits import EXPERTS, ROUTER, ROUTES, refused_by_peft
from mio_local.errors import ModelError

STACKED = (SwitchLinear, QuantizedSwitchLinear)
LINEAR = (nn.Linear, nn.QuantizedLinear, *STACKED)


def linear_layers(model: Any) -> list[str]:
    """Full names of the linear layers inside `model.layers`, by block number, then by name."""
    prefix = block_prefix(model)
    return [
        name for name, module in _ordered(model) if name.startswith(prefix) and isinstance(module, LINEAR)
    ]


def left_out(model: Any) -> dict[str, str]:
    """What all-linear does not mean, by name, and why: experts and their routers, and what PEFT cannot adapt."""
    names = linear_layers(model)
    modules = dict(model.named_modules())
    stacks = {name: modules[name].weight.shape[0] for name in names if isinstance(modules[name], STACKED)}
    blocks = {name.rsplit(".", 2)[0] + ".": count for name, count in stacks.items()}  # of experts, and their router

    def routes(name: str) -> bool:
        return any(
            name.startswith(block) and ROUTER.search(name.removeprefix(block))
            and modules[name].weight.shape[0] == count
            for block, count in blocks.items()
        )  # fmt: skip

    routers = {name: ROUTES for name in names if name not in stacks and routes(name)}
    return {
        **refused_by_peft(str(getattr(model, "model_type", "")), names),
        **dict.fromkeys(stacks, EXPERTS),
        **routers,
    }


def block_prefix(model: Any) -> str:
    """The name of the list that holds the blocks, with its dot: `model.layers.`."""
    first = model.layers[0]
    for name, module in model.named_modules():
        if module is first:
            return name.rpartition(".")[0] + "."
    raise ModelError("the model's blocks are not among its modules, so nothing can be adapted")


def _ordered(model: Any) -> list[tuple[str, Any]]:
    def key(item: tuple[str, Any]) -> list[Any]:
        return [(0, int(part), "") if part.isdigit() else (1, 0, part) for part in item[0].split(".")]

    return sorted(model.named_modules(), key=key)
