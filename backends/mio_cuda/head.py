"""Log-probs of the answers' tokens without the logits of all others: the model's own head, on chosen positions.

The loss depends on a hidden state h_t by its token's log-prob alone, so its gradient there is a number times
g_t = d log p_t / d h_t. Both are computed part by part in the forward pass, and only log p_t and g_t are kept: no
logits live on, and none are computed twice.
"""

import copy
import importlib.util
from collections.abc import Callable, Sequence
from typing import Any

import torch

PART = {"cpu": 2**23, "cuda": 2**26, "mps": 2**25}  # logits alive in all lanes: 32 MB in float32 on a CPU


class _AnswerLogps(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, hidden: torch.Tensor, where: torch.Tensor, targets: torch.Tensor, head: "Head", counts: Sequence[int]
    ) -> torch.Tensor:  # fmt: skip
        logps = torch.empty(len(where), dtype=torch.float32, device=hidden.device)
        slopes = torch.empty(len(where), hidden.shape[-1], dtype=hidden.dtype, device=hidden.device)
        for part in head.parts(len(where)):
            with torch.enable_grad():
                rows = hidden.index_select(0, where[part]).requires_grad_()
                logits = head.logits(rows)
            logps[part], slope = head.picked(logits.detach(), targets[part])
            slopes[part] = -torch.autograd.grad(logits, rows, slope)[0]
        ctx.save_for_backward(slopes, where)
        ctx.shape, ctx.counts = hidden.shape, counts
        return logps

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        slopes, where = ctx.saved_tensors
        slopes = slopes * grad[:, None].to(slopes.dtype)
        out = slopes.new_zeros(ctx.shape)
        # a position is there once among the chosen answers, once among the rejected: no order to depend on
        for places, some in zip(where.split(ctx.counts), slopes.split(ctx.counts), strict=True):
            out.index_add_(0, places, some)
        return out, None, None, None, None


def _picked(logits: torch.Tensor, targets: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """log p of each row's target, (T,) float32, of logits (T, V), and its gradient times -1, softmax minus one-hot, in
    the logits' type. Where that has 16 bits, float32 is written once, as log-probs, and read once."""
    logs = torch.log_softmax(logits, -1, dtype=torch.float32)
    picked = logs.gather(-1, targets[:, None])
    slope = logs.exp_() if logits.dtype == logs.dtype else torch.exp(logs, out=torch.empty_like(logits))
    # p - 1 before it is rounded: of a p near 1, 16 bits would leave nothing
    slope.scatter_(-1, targets[:, None], torch.expm1(picked).to(slope.dtype))
    return picked[:, 0], slope


def _kernel(device: torch.device, dtype: torch.dtype) -> Callable[..., Any] | None:
    """The kernel that does what `_picked` does in 16 bits; None where there is no Triton, or it does not agree."""
    if device.type != "cuda" or dtype not in (torch.bfloat16, torch.float16) or not importlib.util.find_spec("triton"):
        return None
    from mio_cuda.kernels.picked_logps import agrees, picked_logps

    return picked_logps if agrees(device, dtype) else None


class _Given(torch.nn.Module):
    """In the trunk's place, what the trunk answered; also where a model asks its trunk's decoder, as OPT does."""

    def __init__(self, answer: Any) -> None:
        super().__init__()
        self.answer = answer

    @property
    def decoder(self) -> "_Given":
        return self

    def forward(self, *_: Any, **__: Any) -> Any:
        return self.answer


class Head:
    """What a causal language model does after its trunk: logits of hidden states, soft caps and scales included."""

    def __init__(self, model: Any, device: torch.device, lanes: int) -> None:
        self.model = model
        self.trunk = model.base_model
        self.size = PART.get(device.type, PART["cpu"]) // lanes
        self.vocabulary = int(model.get_output_embeddings().weight.shape[0])
        self.picked: Callable[[torch.Tensor, torch.Tensor], tuple[torch.Tensor, torch.Tensor]] = _picked
        self.most: Callable[[int], int] = int  # ranks that share a head have as many parts as the one with most tokens
        self._kind: Any = None

    def switch(self, device: torch.device, *, on: bool) -> None:
        """Take the fused kernel where the device has one, or PyTorch's operations."""
        self.picked = (_kernel(device, self.model.dtype) if on else None) or _picked

    def hidden(self, **inputs: Any) -> torch.Tensor:
        """The trunk's last hidden state, (rows, L, width), final norm included."""
        out = self.trunk(**inputs, use_cache=False)
        self._kind = type(out)
        return out.last_hidden_state

    def logits(self, hidden: torch.Tensor) -> torch.Tensor:
        """Logits (T, V) of hidden states (T, width), in the model's type: its own forward with its trunk's answer
        given."""
        shell = copy.copy(self.model)  # a lane beside this one uses the model as it is
        given = _Given(self._kind(last_hidden_state=hidden[None]))
        shell._modules = {**self.model._modules, self.model.base_model_prefix: given}
        ids = torch.zeros(1, len(hidden), dtype=torch.long, device=hidden.device)
        return shell(input_ids=ids, use_cache=False).logits[0]

    def parts(self, count: int) -> list[slice]:
        """`count` tokens in parts of bounded logits; empty ones behind them where another rank has more."""
        size = max(1, self.size // self.vocabulary)
        return [slice(first, min(first + size, count)) for first in range(0, self.most(count), size)]

    def answer_logps(
        self, hidden: torch.Tensor, where: torch.Tensor, targets: torch.Tensor, counts: Sequence[int]
    ) -> torch.Tensor:
        """log p of the tokens `targets` (T,) predicted at `where` (T,) in hidden states (rows, L, width), float32: of
        so many tokens of chosen answers, of rejected ones, and so on by `counts`."""
        flat = hidden.flatten(0, 1)
        if torch.is_grad_enabled():
            return _AnswerLogps.apply(flat, where, targets, self, counts)  # type: ignore[return-value]
        found = [log_probs(self.logits(flat[where[part]]), targets[part]) for part in self.parts(len(where))]
        return torch.cat(found)


def log_probs(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """log p of each row's target, (T,) float32, of logits (T, V)."""
    return torch.log_softmax(logits, -1, dtype=torch.float32).gather(-1, targets[:, None])[:, 0]
