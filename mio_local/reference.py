"""log ref of the pairs: the model with the adapter as it was at the start.

Policy and reference go through the same code on the same batch, so before the first update they are equal to the bit.
"""

import numpy as np

from mio_local.backend import Model
from mio_local.batching import Batch


class Reference:
    """Reference log-probs, those of the held-out batches computed once a session."""

    def __init__(self, model: Model) -> None:
        self._model = model
        self._kept: dict[tuple[int, ...], np.ndarray] = {}

    def logps(self, batch: Batch, *, keep: bool = False) -> np.ndarray:
        """log ref of the batch's rows, (2n,) float32. With `keep`, remembered for the next time it is asked for."""
        if keep and batch.pairs in self._kept:
            return self._kept[batch.pairs]
        values = self._model.logps(batch, reference=True)
        if keep:
            self._kept[batch.pairs] = values
        return values
