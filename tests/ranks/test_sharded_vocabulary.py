"""Embedding and head by rows, on three ranks that are threads: what the whole matrices give, and its gradient."""

import threading
from collections.abc import Callable
from typing import Any

import pytest

torch: Any = pytest.importorskip("torch")
RANKS, ROWS, WIDTH = 3, 10, 6  # the last rank has two rows, and two of zeros


class Threads:
    """A collective of threads: `mio_cuda.ranks.collective.TorchCollective`, as far as it is used."""

    def __init__(self, rank: int, shared: list[Any], barrier: threading.Barrier) -> None:
        self.rank, self.size, self.device = rank, RANKS, torch.device("cpu")
        self.shared, self.barrier = shared, barrier

    def _all(self, own: Any) -> list[Any]:
        self.shared[self.rank] = own
        self.barrier.wait(20)
        found = list(self.shared)
        self.barrier.wait(20)
        return found

    def most(self, count: int) -> int:
        return max(self._all(count))

    def gathered(self, own: Any) -> Any:
        return torch.cat(self._all(own))

    def exchanged(self, given: Any) -> Any:
        return torch.cat([each.chunk(RANKS)[self.rank] for each in self._all(given)])

    def summed_shares(self, given: Any) -> Any:
        return self.exchanged(given).unflatten(0, (RANKS, -1)).sum(0)

    def summed(self, given: Any) -> Any:
        return torch.stack(self._all(given)).sum(0)

    def of_first(self, given: Any) -> Any:
        return self._all(given)[0]


class Model(torch.nn.Module):
    """An embedding with a padding row, and a head; tied, or with a bias."""

    def __init__(self, *, tied: bool) -> None:
        super().__init__()
        self.embedding = torch.nn.Embedding(ROWS, WIDTH, padding_idx=ROWS - 1)
        self.head = torch.nn.Linear(WIDTH, ROWS, bias=not tied)
        for number, parameter in enumerate(self.parameters()):  # not by the random state, which threads share
            parameter.data = torch.randn(parameter.shape, generator=torch.Generator().manual_seed(number))
        if tied:
            self.head.weight = self.embedding.weight

    def get_input_embeddings(self) -> Any:
        return self.embedding

    def get_output_embeddings(self) -> Any:
        return self.head


def on_ranks(work: Callable[[Any, int], Any]) -> list[Any]:
    """What each rank's thread gives for its collective and number."""
    shared, barrier, found = [None] * RANKS, threading.Barrier(RANKS), dict[int, Any]()

    def run(rank: int) -> None:
        try:
            found[rank] = work(Threads(rank, shared, barrier), rank)
        except BaseException:
            barrier.abort()
            raise

    threads = [threading.Thread(target=run, args=(rank,)) for rank in range(RANKS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return [found[rank] for rank in range(RANKS)]


def logps(logits: Any, targets: Any) -> Any:
    return torch.log_softmax(logits, -1).gather(-1, targets[..., None])[..., 0]


@pytest.mark.parametrize("tied", [True, False])
def test_each_rank_gets_what_the_whole_matrices_give(tied):
    from mio_cuda.ranks.sharded_vocabulary import ShardedVocabulary

    ids = [torch.tensor(rows) for rows in ([[0, 9, 4]], [[3, 3], [8, 1]], [[7]])]
    factors = [torch.randn(each.shape) for each in ids]

    def work(collective: Any, rank: int) -> tuple[Any, ...]:
        model: Any = Model(tied=tied)
        if collective:
            ShardedVocabulary(model, collective)
            assert len(model.embedding.weight) == len(model.head.weight) == 4
        hidden = model.embedding(ids[rank]).detach().requires_grad_()
        found = logps(4 * torch.tanh(model.head(hidden) / 4), ids[rank].flip(-1))
        (found * factors[rank]).sum().backward()
        return hidden.detach(), found.detach(), hidden.grad

    for rank, got in enumerate(on_ranks(work)):
        hidden, *others = zip(got, work(None, rank), strict=True)
        assert torch.equal(*hidden)
        for one, wanted in others:
            torch.testing.assert_close(one, wanted, rtol=1e-6, atol=1e-6)


def test_ranks_that_draw_see_the_same_logits_to_the_bit():
    from mio_cuda.ranks.sharded_vocabulary import ShardedVocabulary

    def work(collective: Any, rank: int) -> Any:
        model: Any = Model(tied=True)
        vocabulary = ShardedVocabulary(model, collective)
        with vocabulary.alike(), torch.no_grad():
            return model.head(model.embedding(torch.tensor([[1, 2]])) + rank * 1e-7)

    first, *rest = on_ranks(work)
    assert all(torch.equal(first, one) for one in rest)
    whole: Any = Model(tied=True)
    torch.testing.assert_close(first, whole.head(whole.embedding(torch.tensor([[1, 2]]))), rtol=1e-6, atol=1e-6)
