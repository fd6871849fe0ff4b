"""Embedding and head by rows of the vocabulary, a share of them on each rank.

What goes between ranks is tokens, hidden states and logits, never the matrix: each rank looks up, or multiplies by, its
own rows for the tokens of all ranks. A model's scales and soft caps stay its own, as they are applied to what these two
modules give.
"""

from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

import torch

from mio_cuda.ranks.collective import TorchCollective


class ShardedVocabulary:
    """Takes the place of a model's embedding and of its head, where they are PyTorch's or of its kind; all ranks
    call each of them as often."""

    def __init__(self, model: Any, collective: TorchCollective) -> None:
        self.collective, self._alike = collective, False
        embedding, head = model.get_input_embeddings(), model.get_output_embeddings()
        whole: dict[int, torch.nn.Parameter] = {}  # of each matrix by its identity: tied ones stay one
        if isinstance(embedding, torch.nn.Embedding) and embedding.max_norm is None:
            self._share(embedding, whole)
            embedding.padding_idx = None  # of use for its gradient alone, and a row number of the whole matrix
            own = embedding.forward
            embedding.forward = lambda input: self._looked_up(embedding, own, input)
        if type(head) is torch.nn.Linear:
            size = head.weight.shape[0]
            self._share(head, whole)
            head.forward = lambda input: self._logits(head, input, size)

    @contextmanager
    def alike(self) -> Generator[None]:
        """All ranks have the same tokens: logits are rank 0's, to the bit, so that all draw the same."""
        self._alike = True
        try:
            yield
        finally:
            self._alike = False

    def _share(self, module: Any, whole: dict[int, torch.nn.Parameter]) -> None:
        """Keep this rank's rows of a matrix, padded with zeros to as many as each other rank has."""
        matrix, place = module.weight, self.collective
        if id(matrix) not in whole:
            rows = -(-len(matrix) // place.size)
            own = matrix.detach()[place.rank * rows : (place.rank + 1) * rows]
            held = torch.zeros(rows, matrix.shape[1], dtype=matrix.dtype, device=place.device)
            held[: len(own)] = own.to(place.device)
            whole[id(matrix)] = torch.nn.Parameter(held, requires_grad=False)
        module.weight = whole[id(matrix)]

    def _looked_up(self, embedding: Any, own: Any, ids: torch.Tensor) -> torch.Tensor:
        """What the module's own forward gives for these tokens, out of a matrix of their rows alone."""
        rows = self._rows(embedding.weight, ids.flatten())
        order = torch.arange(len(rows), device=ids.device).view(ids.shape)
        held = embedding._parameters["weight"]
        embedding._parameters["weight"] = rows
        try:
            return own(order)
        finally:
            embedding._parameters["weight"] = held

    def _rows(self, held: torch.Tensor, ids: torch.Tensor) -> torch.Tensor:
        """The matrix's rows (T, width) of these tokens (T,): exact, as each is a sum with one summand that is not 0."""
        count = len(ids) if self._alike else self.collective.most(len(ids))
        asked = ids if self._alike else self.collective.gathered(_padded(ids, count))
        places = asked - self.collective.rank * len(held)
        mine = (places >= 0) & (places < len(held))
        found = held.index_select(0, places.clamp(0, len(held) - 1)).masked_fill_(~mine[:, None], 0)
        if self._alike:
            return self.collective.summed(found)
        return self.collective.summed_shares(found)[: len(ids)]

    def _logits(self, head: Any, hidden: torch.Tensor, size: int) -> torch.Tensor:
        flat = hidden.reshape(-1, hidden.shape[-1])
        if self._alike:
            first = self.collective.of_first(flat)
            found = self.collective.gathered(torch.nn.functional.linear(first, head.weight))
            logits = _beside(found, self.collective.size)[:, :size]
        else:
            logits = _Logits.apply(flat, head.weight, self.collective, size)
        return (logits if head.bias is None else logits + head.bias).unflatten(0, hidden.shape[:-1])  # pyright: ignore[reportOptionalMemberAccess]


class _Logits(torch.autograd.Function):
    """Logits (T, size) of each rank's own hidden states (T, width), of which ranks may have different numbers; every
    rank multiplies all of them by its rows. The gradient of a hidden state is the sum of what each rank's rows give."""

    @staticmethod
    def forward(
        ctx: Any, x: torch.Tensor, held: torch.Tensor, collective: TorchCollective, size: int
    ) -> torch.Tensor:  # fmt: skip
        ctx.held, ctx.collective, ctx.count = held, collective, len(x)
        ctx.most = collective.most(len(x))
        every = collective.gathered(_padded(x, ctx.most))
        found = collective.exchanged(torch.nn.functional.linear(every, held))
        return _beside(found, collective.size)[: len(x), :size]

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        ranks, rows = ctx.collective.size, len(ctx.held)
        whole = grad.new_zeros(ctx.most, ranks * rows)
        whole[: ctx.count, : grad.shape[1]] = grad
        apart = whole.view(ctx.most, ranks, rows).transpose(0, 1).reshape(ranks * ctx.most, rows)
        slopes = ctx.collective.exchanged(apart) @ ctx.held
        return ctx.collective.summed_shares(slopes)[: ctx.count], None, None, None


def _padded(x: torch.Tensor, count: int) -> torch.Tensor:
    """(T, ...) with zeros behind it, (count, ...)."""
    return torch.cat([x, x.new_zeros(count - len(x), *x.shape[1:])])


def _beside(found: torch.Tensor, ranks: int) -> torch.Tensor:
    """(ranks * T, rows) as (T, ranks * rows)."""
    return found.view(ranks, -1, found.shape[1]).transpose(0, 1).reshape(len(found) // ranks, -1)
