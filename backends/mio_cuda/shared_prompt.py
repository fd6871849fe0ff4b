"""One row [prompt | chosen | rejected] through a transformers model: attention sees it as the two rows it stands for.

Everything but attention works token by token, so a prompt fed once costs once. For attention, queries, keys and values
are laid out as 2n rows [prompt | answer], which are plainly causal: the model's own attention runs on them, its sliding
window and soft cap included, and no mask is needed. Positions are given with the tokens.
"""

import sys
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

import torch
from transformers import AttentionInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward

from mio_cuda.cpu_microbatches import Here
from mio_local.data.collate import Batch, Spans

NAME = "mio_local_shared_prompt"
# attention in every block, of the plain or the sliding kind, by transformers' attention interface, which is told the
# window: Qwen2-MoE and OLMoE mask by another one than they tell
MODELS = {
    "cohere", "cohere2", "gemma", "gemma2", "gemma3", "gemma3_text", "glm", "glm4", "granite", "granitemoe", "helium",
    "llama", "mistral", "mistral3", "mixtral", "nemotron", "olmo", "olmo2", "olmo3", "phi", "phi3", "qwen2",
    "qwen3", "qwen3_moe", "seed_oss", "smollm3", "stablelm", "starcoder2",
}  # fmt: skip


class _Rows(torch.autograd.Function):
    """Shared tokens to rows: (n * L, ...) to (2n * m, ...). A prompt's gradient is that of both its copies."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, rows: "Rows") -> torch.Tensor:
        ctx.rows = rows
        return x.index_select(0, rows.index)

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        # two look-ups, as adding at an index is in no fixed order on a GPU
        return grad.index_select(0, ctx.rows.own).add_(grad.index_select(0, ctx.rows.again)), None


class _Shared(torch.autograd.Function):
    """Rows to shared tokens: (2n * m, ...) to (n * L, ...); what the prompt's second copy gives is dropped."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, rows: "Rows") -> torch.Tensor:
        ctx.rows, ctx.size = rows, len(x)
        return x.index_select(0, rows.own)

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        return grad.new_zeros((ctx.size, *grad.shape[1:])).index_copy_(0, ctx.rows.own, grad), None


class Rows:
    """The layout of one batch, on the device."""

    def __init__(self, spans: Spans, length: int, device: torch.device) -> None:
        index, own, again = spans.rows(length)
        self.shape = index.shape
        self.index, self.own, self.again = (torch.from_numpy(i.ravel()).to(device) for i in (index, own, again))
        self.places = torch.from_numpy(spans.places(length)).long().to(device)

    def spread(self, x: torch.Tensor) -> torch.Tensor:
        """(n, heads, L, width) to (2n, heads, m, width)."""
        flat = x.transpose(1, 2).flatten(0, 1)
        return _Rows.apply(flat, self).unflatten(0, self.shape).transpose(1, 2)  # pyright: ignore[reportOptionalMemberAccess]

    def gather(self, x: torch.Tensor, n: int) -> torch.Tensor:
        """(2n, m, ...) to (n, L, ...)."""
        return _Shared.apply(x.flatten(0, 1), self).unflatten(0, (n, -1))  # pyright: ignore[reportOptionalMemberAccess]


class SharedPrompt:
    """Switches a model's attention over while a batch of shared rows goes through it, backward pass included."""

    def __init__(self, model: Any) -> None:
        self.model = model
        self.inner = str(model.config._attn_implementation)
        kind = str(getattr(model.config, "model_type", ""))
        self.refusal = "" if kind in MODELS else f"{kind} is not known to attend in every block"
        if not self.refusal and self.inner not in ("sdpa", "eager"):
            self.refusal = f"attention by {self.inner}"
        self.rows: Here[Rows | None] = Here()
        if not self.refusal:
            AttentionInterface.register(NAME, self._attend)

    @contextmanager
    def over(self, batch: Batch) -> Generator[None]:
        """For a batch of shared rows, attention in the layout of the `rows` that each part puts here."""
        if batch.spans is None:
            yield
            return
        self.model.set_attn_implementation(NAME)
        try:
            yield
        finally:
            self.model.set_attn_implementation(self.inner)

    def _attend(
        self, module: Any, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, mask: Any, **kwargs: Any
    ) -> tuple[torch.Tensor, None]:
        rows, n = self.rows.get(), len(query)
        assert rows is not None
        query, key, value = (rows.spread(x) for x in (query, key, value))
        eager = self.inner == "eager"
        mask = _mask(query, int(kwargs.get("sliding_window") or 0), additive=eager)
        attend = sys.modules[type(module).__module__].eager_attention_forward if eager else sdpa_attention_forward
        out, _ = attend(module, query, key, value, mask, **kwargs)
        return rows.gather(out, n), None


def _mask(query: torch.Tensor, window: int, *, additive: bool) -> torch.Tensor | None:
    """The causal mask of full rows; none where attention by itself is causal."""
    length = query.shape[2]
    if not additive and not 0 < window < length:
        return None
    place = torch.arange(length, device=query.device)
    back = place[:, None] - place[None]
    seen = (back >= 0) & (back < window) if window else back >= 0
    if not additive:
        return seen[None, None]
    low = torch.finfo(query.dtype).min
    return torch.zeros(length, length, dtype=query.dtype, device=query.device).masked_fill_(~seen, low)[None, None]
