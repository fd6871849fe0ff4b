"""A model's norms and rotary embeddings in fewer operations, on and off."""

from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

from mio_cuda.layers.norm import norms
from mio_cuda.layers.rotary import rotating, turning
from mio_local.recipe import NONE_KNOWN


class FusedLayers:
    """The modules of a model that compute what we know a shorter way for."""

    def __init__(self, model: Any) -> None:
        self._norms, self._places = norms(model), rotating(model)
        self._on = False
        self.refusal = "" if self._norms or self._places else NONE_KNOWN

    def switch(self, *, on: bool) -> None:
        """Take the shorter ways, or transformers' own."""
        self._on = on
        for module, forward in self._norms:
            if on:
                module.forward = forward
            else:
                module.__dict__.pop("forward", None)

    @contextmanager
    def scoring(self) -> Generator[None]:
        """While a batch goes through the model and back; its functions are of whole Python modules, that others use."""
        with turning(self._places if self._on else []):
            yield
