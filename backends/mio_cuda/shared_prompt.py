"""One row [prompt | chosen | rejected | others] through a transformers model: what mixes tokens sees the rows it stands
for.

Most of a model works token by token, so a prompt fed once costs once. What mixes tokens is what takes a cache, as
generation needs it there. Attention by transformers' interface gets queries, keys and values as A * n rows [prompt |
answer], which are plainly causal, with the model's own mask for such rows. Any other mixer, recurrent or convolutional,
runs on those A * n rows itself, while its projections see each token once. A recurrence takes no more steps so than if
it went over the prompt once and over the answers from its state. Positions are given with the tokens.
"""

import inspect
from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from peft.tuners.tuners_utils import BaseTunerLayer
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.masking_utils import ALL_MASK_ATTENTION_FUNCTIONS
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from mio_cuda.cpu_microbatches import Here
from mio_cuda.layers.shared_rows import Rows
from mio_local.data.collate import Batch

NAME = "mio_local_shared_prompt_"  # of one kind of attention
KINDS = ("sdpa", "eager")
CACHES = {"past_key_values", "past_key_value", "layer_past", "cache_params"}  # what a layer calls the cache it takes
ROWS: Here[Rows | None] = Here()


def _attention_of(kind: str) -> Any:
    """Attention of one kind on the rows that its shared queries, keys and values stand for."""

    def attend(
        module: Any, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, mask: Any, **kwargs: Any
    ) -> tuple[torch.Tensor, Any]:
        rows = _rows()
        own = inspect.getmodule(type(module)) if kind == "eager" else None
        inner = getattr(own, "eager_attention_forward", None) or ALL_ATTENTION_FUNCTIONS[kind]
        query, key, value = (rows.spread(x.transpose(1, 2)).transpose(1, 2) for x in (query, key, value))
        out, _ = inner(module, query, key, value, mask, **kwargs)
        return rows.gather(out), None

    return attend


def _mask_of(kind: str) -> Any:
    """The mask that the model asks for, of full rows, in the form that this kind of attention takes."""

    def mask(batch_size: int, q_length: int, kv_length: int, **kwargs: Any) -> Any:
        size = _rows().shape[1]
        asked = {**kwargs, "q_offset": 0, "kv_offset": 0, "attention_mask": None}
        return ALL_MASK_ATTENTION_FUNCTIONS[kind](batch_size=1, q_length=size, kv_length=size, **asked)

    return mask


for _kind in KINDS:
    AttentionInterface.register(NAME + _kind, _attention_of(_kind))
    AttentionMaskInterface.register(NAME + _kind, _mask_of(_kind))


def _rows() -> Rows:
    rows = ROWS.get()
    assert rows is not None
    return rows


class SharedPrompt:
    """Switches a model over while a batch of shared rows goes through it, backward pass included."""

    def __init__(self, model: Any) -> None:
        self.model = model
        self.inner = str(model.config._attn_implementation)
        found = mixers(model)
        attention = {name for name, module in found.items() if _by_interface(module)}
        self.others = [module for name, module in found.items() if name not in attention]
        configs: list[Any] = [getattr(module, "config", None) for module in (model, *model.modules())]
        self._configs = list({id(one): one for one in configs if _attends_by(one) == self.inner}.values())
        self.positions = "position_ids" in inspect.signature(model.forward).parameters
        self.refusal = _refusal(model, found)
        if not self.refusal and attention and not self.positions:
            self.refusal = "it takes no positions"
        if not self.refusal and not model._can_set_attn_implementation():
            self.refusal = "it does not attend by transformers' interface"
        if not self.refusal and attention and self.inner not in KINDS:
            self.refusal = f"attention by {self.inner}"

    def fed(self, rows: Rows) -> dict[str, torch.Tensor]:
        """What is fed beside the tokens. The mask, of ones, says that a row is one sequence though its positions go
        back: transformers would split it there."""
        if not self.positions:
            return {}
        return {"position_ids": rows.places, "attention_mask": torch.ones_like(rows.places)}

    @contextmanager
    def over(self, batch: Batch) -> Generator[None]:
        """For a batch of shared rows, each mixer in the layout of the rows that a part puts into ROWS."""
        if batch.spans is None:
            yield
            return
        with ExitStack() as stack:
            for mixer in self.others:
                for handle in _hooks(mixer):
                    stack.callback(handle.remove)
            if self.inner in KINDS:
                self._attend_by(NAME + self.inner)
                stack.callback(self._attend_by, self.inner)
            yield

    def _attend_by(self, kind: str) -> None:
        """As the model's `set_attn_implementation`, which looks at each module again: 10 of 387 ms of a step of 28
        blocks (counted on a CPU)."""
        for config in self._configs:
            config._attn_implementation = kind


def _attends_by(config: Any) -> str:
    return str(getattr(config, "_attn_implementation", ""))


def mixers(model: torch.nn.Module) -> dict[str, torch.nn.Module]:
    """By name, the innermost modules that take a cache: those that mix a row's tokens."""
    taking = {
        name: module for name, module in model.named_modules()
        if CACHES & inspect.signature(type(module).forward).parameters.keys()
    }  # fmt: skip
    outer = {name[:end] for name in taking for end in range(len(name)) if name[end] == "."} | {""}
    return {name: module for name, module in taking.items() if name not in outer}


def _refusal(model: torch.nn.Module, found: dict[str, torch.nn.Module]) -> str:
    """Why what mixes this model's tokens is not known, in words; empty where it is."""
    if not found:
        return "no layer takes a cache, so what mixes its tokens is not known"
    stem = next(iter(found)).partition("layers.")[0]
    for name, module in model.named_modules():
        inside = any(name.startswith(f"{mixer}.") for mixer in found)
        if isinstance(module, torch.nn.Conv1d) and name.startswith(stem) and not inside:
            return f"{name} mixes tokens outside of what takes a cache"
    return ""


def _by_interface(module: torch.nn.Module) -> bool:
    return "ALL_ATTENTION_FUNCTIONS" in inspect.unwrap(type(module).forward).__code__.co_names


def _hooks(mixer: torch.nn.Module) -> list[Any]:
    """Feed the mixer the A * n rows, and its linear layers each token once."""

    def spread(_: Any, args: Any, kwargs: Any) -> Any:
        rows = _rows()
        return rows.spread_all(args), rows.spread_all(kwargs)

    handles = [
        mixer.register_forward_pre_hook(spread, with_kwargs=True),
        mixer.register_forward_hook(lambda _, __, out: _rows().gather_all(out)),
    ]
    for layer in _linear(mixer):
        handles.append(layer.register_forward_pre_hook(lambda _, args: _rows().gather_all(args)))
        handles.append(layer.register_forward_hook(lambda _, __, out: _rows().spread_all(out)))
    return handles


def _linear(module: torch.nn.Module) -> list[torch.nn.Module]:
    """The linear layers in a module, adapted or not."""
    if isinstance(module, torch.nn.Linear | BaseTunerLayer):
        return [module]
    return [layer for child in module.children() for layer in _linear(child)]
