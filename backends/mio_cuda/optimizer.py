"""The optimiser of an adapter's parameters, from PyTorch or bitsandbytes, and what it keeps from step to step."""

import importlib.util
from collections.abc import Mapping, Sequence
from typing import Any

import torch

from mio_cuda.ranks.collective import TorchCollective
from mio_cuda.xp import add_all, copy_all
from mio_local.objectives.optimizers import OPTIMIZERS, arguments_of, learns_faster
from mio_local.recipe import TrainSettings

Parameters = Mapping[str, torch.nn.Parameter]


def available() -> tuple[str, ...]:
    """Names of those that are installed here."""
    lacking = set[str]()
    if importlib.util.find_spec("bitsandbytes") is None:
        lacking.add("adamw_8bit")
    if not hasattr(torch.optim, "Muon"):
        lacking.add("muon")
    return tuple(name for name in OPTIMIZERS if name not in lacking)


class Lion(torch.optim.Optimizer):
    """Chen et al. 2023, arXiv 2302.06675, algorithm 2: a step of the same size for every weight."""

    def __init__(self, groups: list[dict[str, Any]], lr: float, betas: tuple[float, float], weight_decay: float):
        super().__init__(groups, {"lr": lr, "betas": betas, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # pyright: ignore[reportIncompatibleMethodOverride] - none is used
        for group in self.param_groups:
            beta1, beta2 = group["betas"]
            for parameter in group["params"]:
                if (slope := parameter.grad) is None:
                    continue
                moment = self.state[parameter].setdefault("exp_avg", torch.zeros_like(parameter))
                way = (beta1 * moment + (1 - beta1) * slope).sign_()
                parameter.mul_(1 - group["lr"] * group["weight_decay"]).add_(way, alpha=-group["lr"])
                moment.copy_(beta2 * moment + (1 - beta2) * slope)


class Updates:
    """The recipe's optimiser over named parameters; with LoRA+ (arXiv 2402.12354) at two rates."""

    def __init__(self, train: TrainSettings, parameters: Parameters) -> None:
        self.parameters = dict(parameters)
        matrices = {name: p for name, p in parameters.items() if train.optimizer != "muon" or p.ndim == 2}
        rest = {name: p for name, p in parameters.items() if name not in matrices}
        self.optimizers = [_made(train.optimizer, train, matrices)] if matrices else []
        self.optimizers += [_made("adamw", train, rest)] if rest else []
        self._begin()

    def _begin(self) -> None:
        """Make what is kept, which the optimisers do in their first step: here one of gradients of 0 at a rate of 0,
        which changes no weight and does not count. So it is in memory before the longest pairs are tried."""
        for parameter in self.parameters.values():
            parameter.grad = torch.zeros_like(parameter)
        self.step(0.0)
        self.zero_grad()
        for optimizer in self.optimizers:
            for kept in optimizer.state.values():
                if "step" in kept:
                    kept["step"] = kept["step"] * 0

    def step(self, learning_rate: float) -> None:
        """Update the parameters by their gradients."""
        for optimizer in self.optimizers:
            for group in optimizer.param_groups:
                group["lr"] = learning_rate * group["ratio"]
            optimizer.step()

    def add(self, slopes: Sequence[torch.Tensor | None]) -> None:
        """Add to the pending gradients, in the parameters' type and order; None for a parameter without one."""
        found = [(p, slope) for p, slope in zip(self.parameters.values(), slopes, strict=True) if slope is not None]
        wide = [slope if slope.dtype == p.dtype else torch.empty_like(p) for p, slope in found]
        cast = [(to, slope) for to, (_, slope) in zip(wide, found, strict=True) if to is not slope]
        if cast:
            copy_all([to for to, _ in cast], [slope for _, slope in cast])
        more = [(p.grad, slope) for (p, _), slope in zip(found, wide, strict=True) if p.grad is not None]
        if more:
            add_all([known for known, _ in more], [slope for _, slope in more])
        for (p, _), slope in zip(found, wide, strict=True):
            p.grad = slope.contiguous() if p.grad is None else p.grad

    def gradients(self, collective: TorchCollective | None) -> list[torch.Tensor]:
        """The pending ones; with a `collective` summed over its ranks, of which one may have had nothing to do."""
        if collective:
            for parameter in self.parameters.values():
                parameter.grad = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
        found = [parameter.grad for parameter in self.parameters.values() if parameter.grad is not None]
        if collective:
            collective.sum(found)
        return found

    def zero_grad(self, *, set_to_none: bool = True) -> None:
        """Drop the gradients."""
        for optimizer in self.optimizers:
            optimizer.zero_grad(set_to_none=set_to_none)

    def tensors(self) -> dict[str, torch.Tensor]:
        """What is kept, as KEY.PARAMETER; whole numbers as tensors of integers."""
        found: dict[str, torch.Tensor] = {}
        for name, parameter in self.parameters.items():
            for optimizer in self.optimizers:
                for key, value in optimizer.state.get(parameter, {}).items():
                    # bitsandbytes' tables are one tensor for all parameters, which a file cannot hold
                    kept = value.contiguous() if isinstance(value, torch.Tensor) else torch.tensor(value)
                    found[f"{key}.{name}"] = kept.clone() if key.startswith("qmap") else kept
        return found

    def restore(self, tensors: Mapping[str, torch.Tensor]) -> None:
        """Take back what `tensors` gave."""
        groups = [(one, group) for one in self.optimizers for group in one.param_groups]
        owner = {parameter: one for one, group in groups for parameter in group["params"]}
        for name, value in tensors.items():
            key, _, of = name.partition(".")
            parameter = self.parameters[of]
            kept: Any = value.to(parameter.device)
            if key == "step":  # PyTorch's AdamW keeps a float on the CPU, bitsandbytes a number
                kept = value if value.is_floating_point() else int(value)
            owner[parameter].state[parameter][key] = kept


def _made(name: str, train: TrainSettings, parameters: Parameters) -> torch.optim.Optimizer:
    rate, decay, ratio = train.learning_rate, train.weight_decay, train.loraplus_lr_ratio
    groups = [{"params": list(parameters.values()), "ratio": 1.0}]
    if ratio != 1:
        fast = [parameter for key, parameter in parameters.items() if learns_faster(key)]
        slow = [parameter for key, parameter in parameters.items() if not learns_faster(key)]
        groups = [{"params": some, "ratio": by} for some, by in ((slow, 1.0), (fast, ratio)) if some]
    adam: dict[str, Any] = {"betas": (train.adam_beta1, train.adam_beta2), "eps": train.adam_eps}
    own = arguments_of(train.optimizer, train.optimizer_args)
    if name == "adamw_8bit":
        from bitsandbytes.optim import AdamW8bit

        return AdamW8bit(groups, lr=rate, weight_decay=decay, **adam)
    if name == "lion":
        return Lion(groups, rate, (own["beta1"], own["beta2"]), decay)
    if name == "muon":
        return torch.optim.Muon(groups, lr=rate, weight_decay=decay, momentum=own["momentum"])
    return torch.optim.AdamW(groups, lr=rate, weight_decay=decay, **adam)
