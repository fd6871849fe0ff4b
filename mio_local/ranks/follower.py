"""What another rank than the first does when it is asked: its share of each call of the model."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from mio_local.arrays import Scored
from mio_local.backends import Backend, Memory, Model
from mio_local.data.collate import Batch
from mio_local.launched.rank_place import Collective
from mio_local.objectives.losses import Objective
from mio_local.recipe import ModelSettings
from mio_local.storage.writing import PRIVATE, write_atomically


def loaded(
    backend: Backend, folder: Path, settings: ModelSettings, device: str, collective: Collective,
    grad_checkpoint: bool, seed: int, *, shard: bool,
) -> Model:  # fmt: skip
    """A rank's model; with `shard` it keeps a share of the frozen base."""
    more: dict[str, Any] = {"shard": collective} if shard else {}
    model = backend.load(folder, settings, device, grad_checkpoint=grad_checkpoint, seed=seed, **more)
    model.share(collective)
    return model


class Follower:
    """A rank's model, and the part of a batch that it was given last."""

    def __init__(self, backend: Backend, collective: Collective, device: str) -> None:
        self.backend, self.collective, self.device = backend, collective, device
        self.model: Model | None = None
        self.part: Batch | None = None

    def done(self, what: str, given: Sequence[Any]) -> Any:
        """The result of one of the methods below."""
        return getattr(self, what)(*given)

    def load(
        self, folder: Path, settings: ModelSettings, grad_checkpoint: bool, seed: int, limit: int, shard: bool
    ) -> None:  # fmt: skip
        """Load the base, with `shard` for a share of it; one that was there before goes."""
        self.model = self.part = None
        if limit:
            self.backend.limit_memory(self.device, limit)
        self.model = loaded(
            self.backend, folder, settings, self.device, self.collective, grad_checkpoint, seed, shard=shard
        )

    def call(self, what: str, given: Sequence[Any], more: Mapping[str, Any]) -> Any:
        """What the model gives: for the same as rank 0's, or for a share of several prompts or rows."""
        return getattr(self.model, what)(*given, **more)

    def sum_seconds(self, count: int) -> float:
        """The seconds that a sum of `count` numbers over the ranks takes here."""
        return self.collective.sum_seconds(count)

    def matrix_rate(self, dtype: str) -> float:
        """FLOP per second of products of large matrices here."""
        return max(self.backend.matrix_rates(self.device, dtype))

    def nothing(self) -> None:
        """Answer, to tell how long a question takes."""

    def feed(self, part: Batch | None) -> None:
        """The part of a batch that the next calls are about."""
        self.part = part

    def accumulate(self, reference: np.ndarray, objective: Objective, scale: float) -> Scored:
        """As the model's, of the part."""
        return self._model.accumulate(self._batch, reference, objective, scale)

    def rehearse(self, objective: Objective) -> Scored:
        """As the model's, of the part."""
        return self._model.rehearse(self._batch, objective)

    def logps(self, reference: bool) -> np.ndarray:
        """As the model's, of the part."""
        return self._model.logps(self._batch, reference=reference)

    def apply(self, learning_rate: float) -> tuple[float, Memory]:
        """Step, by the gradient of all ranks; its norm, and the memory here."""
        return self._model.apply(learning_rate), self._model.memory()

    def restore(self, state: Mapping[str, bytes]) -> None:
        """Take rank 0's state over, file by file: a cluster's machines may have no folder in common."""
        with TemporaryDirectory(prefix="mio-local-rank-") as folder:
            for name, content in state.items():
                write_atomically(Path(folder) / name, content, PRIVATE)
            self._model.restore_state(Path(folder))

    @property
    def _model(self) -> Model:
        assert self.model is not None  # rank 0 loads it first
        return self.model

    @property
    def _batch(self) -> Batch:
        assert self.part is not None  # rank 0 asks only who has a part
        return self.part
